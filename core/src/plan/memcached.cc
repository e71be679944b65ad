// How much of a worker's memory and disks memcached gets, and the arguments that say so.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <optional>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/quantity.h"

#include "plan/plan_parts.h"

namespace sluice::plan {
namespace {

constexpr std::uint64_t kDefaultMemory = 1024 * kMebibyte;
constexpr std::uint64_t kSmallestMemory = 64 * kMebibyte;
// Connections, threads and code beside the items; with a disk tier its write buffers too.
constexpr std::uint64_t kServerMargin = 64 * kMebibyte;
constexpr std::uint64_t kDiskMargin = 64 * kMebibyte;
// Of the memory that is left, items get this much; the rest is lost to the hash table and slabs.
constexpr std::uint64_t kItemPercent = 95;

constexpr std::uint64_t kSmallestDisk = 256 * kMebibyte;
// Largest item, with room beside a chunk of 4 MiB. Disk write buffers may not be smaller.
constexpr unsigned kItemMebibytes = 8;
// memcached counts pages of all its files with 16 bits.
constexpr std::uint64_t kSmallestPage = 64 * kMebibyte;
constexpr std::uint64_t kMostPages = 60'000;

constexpr unsigned kFewestThreads = 2;
constexpr unsigned kMostThreads = 4;
// Some per client and node; an idle one costs a few KiB.
constexpr unsigned kConnections = 4096;
constexpr unsigned kMostConnections = 1'000'000;

constexpr const char* kAuthVolume = "sluice-auth";
constexpr const char* kAuthDirectory = "/etc/sluice-auth";
constexpr const char* kTlsVolume = "sluice-tls";
constexpr const char* kTlsDirectory = "/etc/sluice-tls";
constexpr int kReadableByGroup = 0440;  // the pod's fsGroup

struct Options {
  PoolSecurity security{.authentication = true};
  std::optional<unsigned> threads;
  unsigned connections = kConnections;
};

Result<bool> ReadFlag(const std::string& text, const std::string& field) {
  if (text == "true" || text == "false") return text == "true";
  return Fail(Code::kInvalidArgument,
              fmt::format("{}: \"{}\" is neither \"true\" nor \"false\"", field, text));
}

Result<unsigned> ReadCount(const std::string& text, unsigned most, const std::string& field) {
  unsigned count = 0;
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error == std::errc() && last == text.data() + text.size() && count > 0 && count <= most) {
    return count;
  }
  return Fail(Code::kInvalidArgument,
              fmt::format("{}: \"{}\" is no number from 1 to {}", field, text, most));
}

// Null for options that are no flags.
bool* FlagOf(const std::string& name, PoolSecurity& security) {
  if (name == "authentication") return &security.authentication;
  if (name == "tls") return &security.tls;
  if (name == "encryption") return &security.encryption;
  return nullptr;
}

// One of spec.worker.options.
Status ReadOption(const std::string& name, const std::string& text, Options& options,
                  std::vector<std::string>& notes) {
  constexpr unsigned kManyThreads = 64;
  const std::string field = "spec.worker.options." + name;
  if (bool* const flag = FlagOf(name, options.security)) {
    auto on = ReadFlag(text, field);
    if (!on) return Fail(on.error());
    *flag = *on;
  } else if (name == "threads") {
    auto count = ReadCount(text, kManyThreads, field);
    if (!count) return Fail(count.error());
    options.threads = *count;
  } else if (name == "connections") {
    auto count = ReadCount(text, kMostConnections, field);
    if (!count) return Fail(count.error());
    options.connections = *count;
  } else {
    notes.push_back(field +
                    ": not known; known: authentication, connections, encryption, threads, "
                    "tls");
  }
  return Ok();
}

Result<Options> ReadOptions(const Json& worker, std::vector<std::string>& notes) {
  Options options;
  for (const auto& [name, value] : ChildOf(worker, "options").items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (Status read = ReadOption(name, text, options, notes); !read) return Fail(read.error());
  }
  return options;
}

// Whole cores of limits.cpu ("2", "1500m", "0.5"), rounded up; nothing where there is no limit.
std::optional<unsigned> CoresOf(const Json& resources) {
  constexpr double kMilli = 1000;
  const Json& limit = ValueAt(resources, "/limits/cpu");
  const std::string text = limit.is_number() ? limit.dump() : StringAt(resources, "/limits/cpu");
  double cores = 0;
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), cores);
  if (error != std::errc() || !(cores > 0)) return {};
  if (*last == 'm') cores /= kMilli;
  return static_cast<unsigned>(std::ceil(std::min(cores, kMilli)));
}

struct Tiers {
  std::uint64_t memory = 0;  // 0: not said
  TierLevel disk;
  Json disk_level;    // null: no disk tier
  std::string field;  // of the disk's level
};

// The first level in memory and the first on disk; node caches have theirs beside it.
Result<Tiers> ReadTiers(const Json& runtime, std::vector<std::string>& notes) {
  Tiers tiers;
  const Json& levels = ItemsOf(ChildOf(ChildOf(runtime, "spec"), "tieredstore"), "levels");
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const std::string field = fmt::format("spec.tieredstore.levels[{}]", i);
    auto tier = ReadTierLevel(levels[i], field);
    if (!tier) return Fail(tier.error());
    if (tier->memory && tiers.memory == 0) {
      tiers.memory = tier->quota;
    } else if (!tier->memory && tiers.disk_level.is_null()) {
      tiers.disk = std::move(*tier);
      tiers.disk_level = levels[i];
      tiers.field = field;
    } else {
      notes.push_back(field + ": not used; a cache worker has one level in memory and one on disk");
    }
  }
  return tiers;
}

struct Memory {
  std::uint64_t items = 0;
  std::uint64_t limit = 0;  // of the container; 0: as the runtime says
};

Result<Memory> PlanMemory(const Json& resources, const Tiers& tiers,
                          std::vector<std::string>& notes) {
  const std::uint64_t margin = kServerMargin + (tiers.disk_level.is_null() ? 0 : kDiskMargin);
  const std::uint64_t wanted =
      std::max(kSmallestMemory, tiers.memory != 0 ? tiers.memory : kDefaultMemory);
  const auto limit_for = [&](std::uint64_t items) {
    const std::uint64_t bytes = (items / kItemPercent + 1) * 100 + margin;
    return (bytes + kMebibyte - 1) / kMebibyte * kMebibyte;
  };
  const Json& value = ValueAt(resources, "/limits/memory");
  const std::string given =
      value.is_number_integer() ? value.dump() : StringAt(resources, "/limits/memory");
  if (given.empty()) {
    if (wanted > UINT64_MAX / 200) {
      return Fail(Code::kInvalidArgument,
                  "spec.tieredstore: the quota in memory is beyond every machine");
    }
    return Memory{.items = wanted, .limit = limit_for(wanted)};
  }
  const std::string field = "spec.worker.resources.limits.memory";
  auto limit = ParseBytes(given);
  if (!limit) return Fail(limit.error().Wrap(field));
  if (*limit < limit_for(kSmallestMemory)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{}: {} is too little; a cache worker needs {}", field, given,
                            FormatBytes(limit_for(kSmallestMemory))));
  }
  const std::uint64_t room = (*limit - margin) / 100 * kItemPercent;
  // Without a tier the limit says how large the cache is.
  if (tiers.memory == 0) return Memory{.items = room};
  if (room < wanted) {
    notes.push_back(fmt::format(
        "{}: {} holds {}Mi of the {} that spec.tieredstore asks for; all "
        "of it needs {}",
        field, given, room / kMebibyte, FormatBytes(wanted), FormatBytes(limit_for(wanted))));
  }
  return Memory{.items = std::min(room, wanted)};
}

bool IsPlainDirectory(const std::string& path) {
  return path.size() > 1 && path.front() == '/' && (path + "/").find("/../") == std::string::npos &&
         path.find_first_of(":,$") == std::string::npos;
}

// A volume for each path of the disk's level, and memcached's words for them.
class DiskTier {
 public:
  DiskTier(const RuntimeIdentity& identity, const Tiers& tiers)
      : identity_(identity), tiers_(tiers) {}

  Status AddTo(CacheServer& server) {
    const TierLevel& disk = tiers_.disk;
    const bool on_host = StringOf(tiers_.disk_level, "volumeType") != "emptyDir";
    if (disk.quota == 0) {
      return Fail(Code::kInvalidArgument,
                  tiers_.field + ".quota: is missing; cache workers need a size such as 100Gi");
    }
    if (on_host && disk.paths.empty()) {
      return Fail(Code::kInvalidArgument,
                  tiers_.field +
                      ".path: is missing; name a directory of the nodes for the cache, "
                      "or set volumeType: emptyDir");
    }
    std::string files;
    for (std::size_t i = 0; i < disk.path_quotas.size(); ++i) {
      if (disk.path_quotas[i] < kSmallestDisk) {
        return Fail(
            Code::kInvalidArgument,
            fmt::format("{}.quota: {} for one path is too little; give at least {}", tiers_.field,
                        FormatBytes(disk.path_quotas[i]), FormatBytes(kSmallestDisk)));
      }
      if (on_host && !IsPlainDirectory(disk.paths[i])) {
        return Fail(Code::kInvalidArgument, fmt::format("{}.path: \"{}\" is no absolute directory",
                                                        tiers_.field, disk.paths[i]));
      }
      files += AddVolume(i, on_host, server);
    }
    server.args.push_back("-o");
    // Sizes before the files that are cut into them.
    server.args.push_back(
        fmt::format("ext_page_size={},ext_wbuf_size={},ext_threads=2,"
                    "ext_item_size=8192{}",
                    PageMebibytes(), kItemMebibytes, files));
    // Workers of one dataset may share a node, and so its directory.
    server.env.push_back(
        {{"name", "POD_NAME"}, {"valueFrom", {{"fieldRef", {{"fieldPath", "metadata.name"}}}}}});
    return Ok();
  }

 private:
  [[nodiscard]] std::uint64_t PageMebibytes() const {
    std::uint64_t page = kSmallestPage;
    while (tiers_.disk.quota / page > kMostPages) page *= 2;
    return page / kMebibyte;
  }

  std::string AddVolume(std::size_t index, bool on_host, CacheServer& server) {
    const std::string name = fmt::format("sluice-cache-{}", index);
    const std::string inside = fmt::format("/cache/{}", index);
    const std::uint64_t quota = tiers_.disk.path_quotas[index];
    Json volume = {{"name", name}};
    if (on_host) {
      volume["hostPath"] = {
          {"path", fmt::format("{}/{}/{}", tiers_.disk.paths[index], identity_.ns, identity_.name)},
          {"type", "DirectoryOrCreate"}};
      server.host_directories.push_back(inside);
    } else {
      // The kubelet evicts a pod whose emptyDir is over its limit.
      volume["emptyDir"] = {{"sizeLimit", FormatBytes(quota + kDiskMargin)}};
    }
    server.volumes.push_back(std::move(volume));
    server.volume_mounts.push_back({{"name", name}, {"mountPath", inside}});
    return fmt::format(",ext_path={}/$(POD_NAME):{}M", inside, quota / kMebibyte);
  }

  const RuntimeIdentity& identity_;
  const Tiers& tiers_;
};

// A Secret's keys as files of one directory.
void AddSecret(const std::string& secret, const char* volume, const char* directory,
               std::initializer_list<const char*> keys, CacheServer& server) {
  Json items = Json::array();
  for (const char* key : keys) items.push_back({{"key", key}, {"path", key}});
  server.volumes.push_back(
      {{"name", volume},
       {"secret",
        {{"secretName", secret}, {"items", std::move(items)}, {"defaultMode", kReadableByGroup}}}});
  server.volume_mounts.push_back({{"name", volume}, {"mountPath", directory}, {"readOnly", true}});
}

void AddAuthentication(const RuntimeIdentity& identity, CacheServer& server) {
  server.args.push_back("-Y");
  server.args.push_back(fmt::format("{}/{}", kAuthDirectory, kWorkerSecretKey));
  AddSecret(identity.worker_secret, kAuthVolume, kAuthDirectory, {kWorkerSecretKey}, server);
}

// Mode 2: who shows no certificate of the authority is refused.
void AddTls(const RuntimeIdentity& identity, CacheServer& server) {
  server.args.push_back("-Z");
  server.args.push_back("-o");
  server.args.push_back(
      fmt::format("ssl_chain_cert={0}/tls.crt,ssl_key={0}/tls.key,ssl_ca_cert={0}/ca.crt,"
                  "ssl_verify_mode=2",
                  kTlsDirectory));
  AddSecret(identity.worker_tls, kTlsVolume, kTlsDirectory, {"ca.crt", "tls.crt", "tls.key"},
            server);
}

Json ResourcesOf(const Json& worker, const Memory& memory) {
  Json resources = ChildOf(worker, "resources");
  Json& limits = ObjectIn(resources, "limits");
  if (memory.limit != 0) limits["memory"] = FormatBytes(memory.limit);
  Json& requests = ObjectIn(resources, "requests");
  // The cache fills up: what it may take it will.
  if (!requests.contains("memory")) requests["memory"] = limits["memory"];
  if (!requests.contains("cpu")) requests["cpu"] = "100m";
  return resources;
}

}  // namespace

Result<CacheServer> PlanCacheServer(const PlanInput& input, const RuntimeIdentity& identity,
                                    std::vector<std::string>& notes) {
  const Json& worker = ChildOf(ChildOf(input.runtime, "spec"), "worker");
  SLUICE_TRY(options, ReadOptions(worker, notes), input.profile.runtime.kind);
  SLUICE_TRY(tiers, ReadTiers(input.runtime, notes), input.profile.runtime.kind);
  const Json& resources = ChildOf(worker, "resources");
  SLUICE_TRY(memory, PlanMemory(resources, tiers, notes), input.profile.runtime.kind);
  const unsigned threads = options.threads.value_or(
      std::clamp(CoresOf(resources).value_or(kMostThreads), kFewestThreads, kMostThreads));

  CacheServer server;
  server.security = options.security;
  server.resources = ResourcesOf(worker, memory);
  // Without -l it listens on the pod's addresses of either family. -F, -X, -W: no client may empty,
  // list or watch the cache.
  server.args = {
      "-p", std::to_string(kWorkerPort),         "-m", std::to_string(memory.items / kMebibyte),
      "-I", fmt::format("{}m", kItemMebibytes),  "-t", std::to_string(threads),
      "-c", std::to_string(options.connections), "-F", "-X",
      "-W"};
  if (options.security.authentication) AddAuthentication(identity, server);
  if (options.security.tls) AddTls(identity, server);
  if (!tiers.disk_level.is_null()) {
    SLUICE_CHECK(DiskTier(identity, tiers).AddTo(server), input.profile.runtime.kind);
  }
  return server;
}

}  // namespace sluice::plan
