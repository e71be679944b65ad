#include "node_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "file_io.h"

namespace sluice::cache {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{1'000};
constexpr milliseconds kLastRetry{60'000};
// Without a quota, this much of the file system stays free for others.
constexpr double kReserveShare = 0.05;
constexpr std::uint64_t kReserveMost = 2ULL << 30;
constexpr std::uint64_t kStatBlockBytes = 512;

constexpr std::array kSuffixes = {".part", ".data", ".index"};

struct Found {
  std::uint64_t bytes = 0;
  timespec used{};
  bool data = false;
  bool index = false;
};

// Eviction goes on until so much of the limit is used, so that it does not run for every block:
// nine tenths of what pinned objects leave.
std::uint64_t LowWatermark(std::uint64_t limit, std::uint64_t pinned) {
  return limit - (limit - std::min(limit, pinned)) / 10;
}

// So many objects go at a time where nobody waits for their room.
constexpr std::size_t kVictimsAtATime = 256;
// The order of use after a restart is that of the index files' times, as of so long ago at most.
constexpr std::chrono::minutes kStampEvery{5};

milliseconds NextRetry(milliseconds last) { return std::clamp(last * 2, kFirstRetry, kLastRetry); }

// What lies in the directory, by object name. Anything else there is left alone.
std::map<std::string, Found> FindObjects(const std::filesystem::path& directory) {
  std::map<std::string, Found> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string suffix = it->path().extension();
    if (std::find(kSuffixes.begin(), kSuffixes.end(), suffix) == kSuffixes.end()) continue;
    struct stat info {};
    if (lstat(it->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    Found& object = found[it->path().stem()];
    if (suffix == ".index") {
      object.index = true;
      object.used = info.st_mtim;
    } else {
      object.data = true;
      object.bytes += static_cast<std::uint64_t>(info.st_blocks) * kStatBlockBytes;
    }
  }
  return found;
}

}  // namespace

NodeCache::NodeCache(Options options, platform::Metrics& metrics, const platform::Log& log)
    : options_(std::move(options)),
      objects_(options_.directory / "objects"),
      log_(log),
      corrupt_blocks_(metrics.AddCounter("sluice_cache_corrupt_blocks_total",
                                         "Blocks of the node cache that failed their check")),
      evicted_bytes_(metrics.AddCounter("sluice_cache_evicted_bytes_total",
                                        "Bytes evicted from the node cache")),
      write_errors_(
          metrics.AddCounter("sluice_cache_write_errors_total", "Failed writes to the node cache")),
      bytes_gauge_(metrics.AddGauge("sluice_cache_bytes", "Bytes in the node cache")),
      limit_gauge_(
          metrics.AddGauge("sluice_cache_limit_bytes", "Bytes that the node cache may use now")),
      usable_gauge_(metrics.AddGauge(
          "sluice_cache_usable", "1 while the node cache stores blocks, 0 while reads pass it by")),
      pinned_gauge_(metrics.AddGauge("sluice_cache_pinned_objects",
                                     "Objects that the node cache does not evict, there or not")),
      unsynced_gauge_(metrics.AddGauge("sluice_cache_unsynced_bytes",
                                       "Bytes of the node cache that may not be on the disk yet; "
                                       "kept under a memory limit only")),
      write_behind_(WriteBehind(options_.unsynced_bytes)) {}

NodeCache::~NodeCache() = default;

void NodeCache::Maintain(std::chrono::steady_clock::time_point now) {
  const bool attached = state_.With([](const State& state) { return state.attached; });
  const bool lost = attached && IsLost();
  if (lost) {
    log_.Warn("node cache directory is gone, or another one is there now",
              {{"directory", options_.directory.string()}});
    Detach();
  } else if (attached) {
    FitLimit();
    EvictDownToQuota();
    return;
  }
  const bool due = state_.With([&](const State& state) { return now >= state.retry_at; });
  if (!due) return;
  const Status status = Attach();
  if (!status) {
    write_errors_.Add();
    if (!attach_failed_.exchange(true)) {
      log_.Warn("node cache cannot be used, reads pass it by", {{"cause", status.error().message}});
    }
    state_.With([&](State& state) {
      state.retry_after = NextRetry(state.retry_after);
      state.retry_at = now + state.retry_after;
    });
    return;
  }
  attach_failed_ = false;
  state_.With([](State& state) {
    state.attached = true;
    state.retry_after = milliseconds{0};
  });
  FitLimit();
  const NodeCacheStats stats = Stats();
  log_.Info("node cache attached", {{"directory", options_.directory.string()},
                                    {"objects", stats.objects},
                                    {"bytes", stats.bytes},
                                    {"limit_bytes", stats.limit}});
}

Status NodeCache::Attach() {
  std::lock_guard names(names_mutex_);
  std::error_code error;
  std::filesystem::create_directories(objects_, error);
  if (error) {
    return Fail(Code::kPermissionDenied, "create " + objects_.string() + ": " + error.message());
  }
  SLUICE_TRY(lock, OpenFile(options_.directory / "lock", O_RDWR | O_CREAT, 0600), "lock");
  if (flock(lock.Get(), LOCK_EX | LOCK_NB) != 0) {
    return Fail(Code::kUnavailable, options_.directory.string() + " is in use by another process");
  }
  // Other people's data may lie there; nobody else need look.
  chmod(objects_.c_str(), 0700);
  lock_ = std::move(lock);
  Scan();
  return Ok();
}

bool NodeCache::IsLost() {
  std::lock_guard names(names_mutex_);
  struct stat held {};
  struct stat found {};
  if (stat(objects_.c_str(), &found) != 0 && errno == ENOENT) return true;
  if (stat((options_.directory / "lock").c_str(), &found) != 0) return errno == ENOENT;
  if (fstat(lock_.Get(), &held) != 0) return false;
  return held.st_dev != found.st_dev || held.st_ino != found.st_ino;
}

// Entries that are open go on reading from the files that they have open, and store nothing more.
void NodeCache::Detach() {
  std::lock_guard names(names_mutex_);
  lock_ = {};
  state_.With([](State& state) {
    state.items.Clear();
    state.attached = false;
    state.writable = true;
    state.retry_at = {};
    state.limit = 0;
  });
  bytes_gauge_.Set(0);
  limit_gauge_.Set(0);
  usable_gauge_.Set(0);
}

void NodeCache::Scan() {
  const auto found = FindObjects(objects_);
  std::vector<std::pair<timespec, std::string>> order;
  for (const auto& [name, object] : found) {
    if (object.data && object.index) {
      order.emplace_back(object.used, name);
    } else {
      Unlink(name);  // half of an object is none
    }
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.tv_sec, a.first.tv_nsec) < std::pair(b.first.tv_sec, b.first.tv_nsec);
  });
  state_.With([&](State& state) {
    for (const auto& [used, name] : order) {
      state.items.Use(name);
      state.items.Charge(name, found.at(name).bytes);
    }
  });
}

void NodeCache::FitLimit() {
  struct statvfs info {};
  if (statvfs(objects_.c_str(), &info) != 0) return;
  const std::uint64_t free = info.f_bavail * info.f_frsize;
  const std::uint64_t total = info.f_blocks * info.f_frsize;
  const auto share = static_cast<std::uint64_t>(static_cast<double>(total) * kReserveShare);
  const std::uint64_t reserve = options_.quota_bytes > 0 ? 0 : std::min(share, kReserveMost);
  state_.With([&](State& state) {
    const std::uint64_t possible = state.items.Bytes() + free;
    state.limit = possible > reserve ? possible - reserve : 0;
    if (options_.quota_bytes > 0) state.limit = std::min(state.limit, options_.quota_bytes);
    bytes_gauge_.Set(static_cast<double>(state.items.Bytes()));
    limit_gauge_.Set(static_cast<double>(state.limit));
    usable_gauge_.Set(state.writable ? 1 : 0);
  });
}

// Not down to a limit that the disk sets: what others leave free there changes from moment to
// moment.
void NodeCache::EvictDownToQuota() {
  if (options_.quota_bytes == 0) return;
  const auto over = [&](const State& state) { return state.items.Bytes() > options_.quota_bytes; };
  if (!state_.With(over)) return;
  std::lock_guard names(names_mutex_);
  Evict(options_.quota_bytes, kVictimsAtATime);
}

void NodeCache::Evict(std::uint64_t target, std::size_t most) {
  const auto victims = state_.With([&](State& state) {
    const std::uint64_t before = state.items.Bytes();
    auto names = state.items.TakeVictims(target, most);
    evicted_bytes_.Add(before - state.items.Bytes());
    return names;
  });
  for (const std::string& victim : victims) Unlink(victim);
}

void NodeCache::Touch(const std::string& name) {
  const auto now = std::chrono::steady_clock::now();
  const bool stamp = state_.With([&](State& state) {
    if (state.items.Find(name) == nullptr) return false;
    CacheItems::Item& item = state.items.Use(name);
    if (now - item.stamped < kStampEvery) return false;
    item.stamped = now;
    return true;
  });
  if (stamp) utimensat(AT_FDCWD, (objects_ / (name + ".index")).c_str(), nullptr, 0);
}

void NodeCache::SetPinned(PinSet pinned) {
  pinned_gauge_.Set(static_cast<double>(pinned.size()));
  state_.With([&](State& state) { state.items.Pin(std::move(pinned)); });
}

std::shared_ptr<CacheEntry> NodeCache::Open(const CacheKey& key) {
  const std::string name = CacheFileName(key);
  std::lock_guard names(names_mutex_);
  bool attached = false;
  auto entry = state_.With([&](State& state) -> std::shared_ptr<CacheEntry> {
    attached = state.attached;
    if (state.items.Find(name) == nullptr) return nullptr;
    return state.items.Use(name).open.lock();
  });
  if (!attached || entry) return entry;
  // Not make_shared: the constructor is private.
  entry = std::shared_ptr<CacheEntry>(new CacheEntry(shared_from_this(), key, name));
  entry->LoadFiles();
  state_.With([&](State& state) { state.items.Use(name).open = entry; });
  return entry;
}

bool NodeCache::Reserve(const std::string& name, std::uint64_t bytes) {
  const auto take = [&](State& state) {
    if (!state.attached || state.items.Bytes() + bytes > state.limit) return false;
    if (state.items.Find(name) == nullptr) return false;
    state.items.Charge(name, bytes);
    return true;
  };
  if (state_.With(take)) return true;
  std::lock_guard names(names_mutex_);
  const auto target = state_.With([&](const State& state) -> std::optional<std::uint64_t> {
    const std::uint64_t low = LowWatermark(state.limit, state.items.PinnedBytes());
    if (!state.attached || bytes > low) return std::nullopt;
    return low - bytes;
  });
  if (target) Evict(*target);
  return state_.With(take);
}

void NodeCache::Unreserve(const std::string& name, std::uint64_t bytes) {
  state_.With([&](State& state) { state.items.Refund(name, bytes); });
}

void NodeCache::OnWritten(const std::string& name, WriteBehind::File file, std::uint64_t bytes) {
  const bool begin = write_behind_.With(
      [&](WriteBehind& unsynced) { return unsynced.OnWritten(name, file, bytes); });
  if (begin) BeginWriteBack(file->Get());
  const auto overdue = [&] {
    return write_behind_.With([](WriteBehind& unsynced) { return unsynced.TakeOverdue(); });
  };
  while (const auto late = overdue()) AwaitWriteBack(late->Get());
  unsynced_gauge_.Set(static_cast<double>(
      write_behind_.With([](const WriteBehind& unsynced) { return unsynced.Unsynced(); })));
}

void NodeCache::Unlink(const std::string& name) {
  write_behind_.With([&](WriteBehind& unsynced) { unsynced.Forget(name); });
  for (const char* suffix : kSuffixes) unlink((objects_ / (name + suffix)).c_str());
}

bool NodeCache::Knows(const std::string& name) const {
  return state_.With([&](const State& state) { return state.items.Find(name) != nullptr; });
}

std::uint64_t NodeCache::MostFor(const std::string& name) const {
  return state_.With([&](const State& state) -> std::uint64_t {
    std::uint64_t others = state.items.PinnedBytes();
    const CacheItems::Item* const item = state.items.Find(name);
    if (item != nullptr && item->pinned) others -= item->bytes;
    return state.limit - std::min(state.limit, others);
  });
}

bool NodeCache::IsVerified(const std::string& name) const {
  return state_.With([&](const State& state) {
    const CacheItems::Item* const item = state.items.Find(name);
    return item != nullptr && item->verified;
  });
}

void NodeCache::SetVerified(const std::string& name, bool verified) {
  state_.With([&](State& state) {
    if (CacheItems::Item* const item = state.items.Find(name)) item->verified = verified;
  });
}

void NodeCache::OnEntryClosed(const std::string& name) {
  state_.With([&](State& state) {
    const CacheItems::Item* const item = state.items.Find(name);
    if (item != nullptr && item->bytes == 0 && item->open.expired()) state.items.Erase(name);
  });
}

bool NodeCache::Writable() const {
  return state_.With([](const State& state) {
    return state.attached && (state.writable || std::chrono::steady_clock::now() >= state.retry_at);
  });
}

void NodeCache::OnWriteError(const Error& error) {
  write_errors_.Add();
  const bool was_writable = state_.With([](State& state) {
    state.retry_after = NextRetry(state.retry_after);
    state.retry_at = std::chrono::steady_clock::now() + state.retry_after;
    return std::exchange(state.writable, false);
  });
  FitLimit();  // a full disk lowers the limit, so the next attempt evicts first
  if (was_writable) log_.Warn("node cache stores nothing for now", {{"cause", error.message}});
}

void NodeCache::OnWriteSuccess() {
  const bool was_writable = state_.With([this](State& state) {
    bytes_gauge_.Set(static_cast<double>(state.items.Bytes()));
    state.retry_after = milliseconds{0};
    return std::exchange(state.writable, true);
  });
  if (was_writable) return;
  usable_gauge_.Set(1);
  log_.Info("node cache stores again");
}

NodeCacheStats NodeCache::Stats() const {
  return state_.With([](const State& state) {
    return NodeCacheStats{state.items.Bytes(), state.items.Count(), state.limit,
                          state.attached && state.writable};
  });
}

}  // namespace sluice::cache
