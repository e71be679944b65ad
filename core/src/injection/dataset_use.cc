#include "dataset_use.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"

#include "keys.h"

namespace sluice::injection {
namespace {

// How each runtime kind is spelled and where it keeps what we read.
struct RuntimeKind {
  std::string_view type;  // Dataset.status.runtimes[0].type
  const char* kind;
  const char* plural;
  const char* fuse_section;  // of spec; empty: has no node selector
  const char* daemon_set_suffix;
};
constexpr std::array<RuntimeKind, 8> kRuntimeKinds{{
    {"alluxio", "AlluxioRuntime", "alluxioruntimes", "fuse", "-fuse"},
    {"jindo", "JindoRuntime", "jindoruntimes", "fuse", "-jindofs-fuse"},
    {"juicefs", "JuiceFSRuntime", "juicefsruntimes", "fuse", "-fuse"},
    {"thin", "ThinRuntime", "thinruntimes", "fuse", "-fuse"},
    {"efc", "EFCRuntime", "efcruntimes", "fuse", "-fuse"},
    {"vineyard", "VineyardRuntime", "vineyardruntimes", "", "-fuse"},
    {"cache", "CacheRuntime", "cacheruntimes", "client", "-client"},
    {names::kSluiceRuntimeType, "SluiceRuntime", "sluiceruntimes", "fuse", "-fuse"},
}};

const RuntimeKind* FindKind(std::string_view type) {
  const auto* found = std::find_if(kRuntimeKinds.begin(), kRuntimeKinds.end(),
                                   [&](const RuntimeKind& kind) { return kind.type == type; });
  return found == kRuntimeKinds.end() ? nullptr : found;
}

// The dataset a claim belongs to, or nothing for a foreign claim.
std::optional<std::string> DatasetOfClaim(const Json& pvc, const std::string& claim) {
  const Json& labels = ChildOf(ChildOf(pvc, "metadata"), "labels");
  for (const char* key : {keys::kManagedBy, keys::kWrappedBy}) {
    if (std::string dataset = StringOf(labels, key); !dataset.empty()) return dataset;
  }
  for (const auto& [key, value] : labels.items()) {
    if (key.starts_with(keys::kDatasetPvcPrefix)) return claim;
  }
  return std::nullopt;
}

// The object, or an error in the API server's words.
Result<std::shared_ptr<const Json>> Read(const Lookup& lookup, const ResourceType& type,
                                         const ObjectKey& key) {
  auto object = lookup(type, key);
  if (!object && object.error().code == Code::kNotFound) {
    return Fail(Code::kNotFound, fmt::format("{}{}{} \"{}\" not found", type.plural,
                                             type.group.empty() ? "" : ".", type.group, key.name));
  }
  return object;
}

Status CheckBound(const Json& dataset, const std::string& full_name) {
  const Json& status = ChildOf(dataset, "status");
  const std::string phase = StringOf(status, "phase");
  if (!phase.empty() && phase != "NotBound") return Ok();
  for (const Json& condition : ItemsOf(status, "conditions")) {
    if (StringOf(condition, "type") != "NotReady") continue;
    return Fail(Code::kUnavailable, fmt::format("dataset \"{}\" not ready because {}", full_name,
                                                StringOf(condition, "message")));
  }
  return Fail(Code::kUnavailable, fmt::format("dataset \"{}\" not bound", full_name));
}

bool ScrapesSidecar(const Json& runtime) {
  const std::string targets =
      StringOf(ChildOf(ChildOf(ChildOf(runtime, "spec"), "fuse"), "metrics"), "scrapeTarget");
  std::size_t begin = 0;
  while (begin <= targets.size()) {
    const std::size_t end = std::min(targets.find(',', begin), targets.size());
    std::string target = targets.substr(begin, end - begin);
    target.erase(0, target.find_first_not_of(' '));
    target.erase(target.find_last_not_of(' ') + 1);
    if (target == "Sidecar" || target == "All") return true;
    begin = end + 1;
  }
  return false;
}

struct Runtime {
  const RuntimeKind* kind;
  std::shared_ptr<const Json> object;
};

// The runtime that serves the dataset: its namesake of the kind that the dataset's status names.
Result<Runtime> ReadRuntime(const Json& dataset, const ObjectKey& key, const Lookup& lookup) {
  const Json& runtimes = ItemsOf(ChildOf(dataset, "status"), "runtimes");
  const std::string type_name = runtimes.empty() ? "" : StringOf(runtimes[0], "type");
  const RuntimeKind* kind = FindKind(type_name);
  if (kind == nullptr) {
    return Fail(Code::kInvalidArgument,
                fmt::format("fail to get runtimeInfo for runtime type: {}", type_name));
  }
  const ResourceType type{"data.fluid.io", "v1alpha1", kind->plural, kind->kind, true};
  auto object = Read(lookup, type, key);
  if (!object) return Fail(object.error());
  return Runtime{kind, std::move(*object)};
}

bool DemandsNodes(const Json& affinity) {
  return !ItemsOf(ChildOf(affinity, "requiredDuringSchedulingIgnoredDuringExecution"),
                  "nodeSelectorTerms")
              .empty();
}

// What the use does not know yet of the nodes of its FUSE pods and of its cache.
void AddPlaces(const Runtime& runtime, DatasetUse& use) {
  if (use.node_selector.empty()) {
    use.node_selector = ChildOf(
        ChildOf(ChildOf(*runtime.object, "spec"), runtime.kind->fuse_section), "nodeSelector");
  }
  if (!DemandsNodes(use.cache_affinity)) {
    use.cache_affinity = ChildOf(ChildOf(*runtime.object, "status"), "cacheAffinity");
  }
}

// A reference dataset (one mount dataset://ns/name[/path]) is cached where the other one is, and
// served by the other one's FUSE pods. An absent one is waited for on any node.
Status FindCache(const Json& dataset, const Lookup& lookup, DatasetUse& use) {
  const Json& mounts = ItemsOf(ChildOf(dataset, "spec"), "mounts");
  if (mounts.size() != 1) return Ok();
  constexpr std::string_view kScheme = "dataset://";
  const std::string point = StringOf(mounts[0], "mountPoint");
  if (!point.starts_with(kScheme)) return Ok();
  const std::size_t ns_end = point.find('/', kScheme.size());
  if (ns_end == std::string::npos) return Ok();
  const std::size_t name_end = std::min(point.find('/', ns_end + 1), point.size());
  use.cache_ns = point.substr(kScheme.size(), ns_end - kScheme.size());
  use.cache_name = point.substr(ns_end + 1, name_end - ns_end - 1);
  const ObjectKey key{use.cache_ns, use.cache_name};
  auto physical = Read(lookup, resources::kDataset, key);
  if (!physical) {
    const bool absent = physical.error().code == Code::kNotFound;
    // Names that are too long for a label need the UID.
    if (absent && names::WorkerLabel(key.ns, key.name, "") != keys::kDatasetPvcPrefix) {
      use.cache_uid.clear();
      return Ok();
    }
    return Fail(
        physical.error().Wrap(fmt::format("the dataset that \"{}\" refers to", use.FullName())));
  }
  use.cache_uid = StringOf(ChildOf(**physical, "metadata"), "uid");
  auto runtime = ReadRuntime(**physical, key, lookup);
  if (runtime) {
    AddPlaces(*runtime, use);
  } else if (runtime.error().code == Code::kUnavailable) {
    return Fail(runtime.error());
  }
  return Ok();
}

Result<DatasetUse> Resolve(const std::string& name, const Lookup& lookup,
                           const CollectOptions& options) {
  auto dataset = Read(lookup, resources::kDataset, {options.ns, name});
  if (!dataset) return Fail(dataset.error());
  DatasetUse use;
  use.ns = options.ns;
  use.name = name;
  use.uid = StringOf(ChildOf(**dataset, "metadata"), "uid");
  if (!options.skip_precheck) {
    auto bound = CheckBound(**dataset, use.FullName());
    if (!bound) return Fail(bound.error());
  }
  auto runtime = ReadRuntime(**dataset, {use.ns, name}, lookup);
  if (!runtime) return Fail(runtime.error());
  use.runtime_type = runtime->kind->type;
  use.fuse_daemon_set = name + runtime->kind->daemon_set_suffix;
  AddPlaces(*runtime, use);
  use.scrape_sidecar = use.runtime_type == "jindo" && ScrapesSidecar(*runtime->object);
  use.cache_ns = use.ns;
  use.cache_name = use.name;
  use.cache_uid = use.uid;
  if (options.for_placement) {
    auto found = FindCache(**dataset, lookup, use);
    if (!found) return Fail(found.error());
  }
  return use;
}

}  // namespace

std::vector<std::string> ClaimsOf(const Json& pod) {
  std::vector<std::string> claims;
  for (const Json& volume : ItemsOf(ChildOf(pod, "spec"), "volumes")) {
    const auto source = volume.find("persistentVolumeClaim");
    if (source != volume.end() && source->is_object()) {
      claims.push_back(StringOf(*source, "claimName"));
    }
  }
  return claims;
}

Result<DatasetUses> CollectDatasets(const Json& pod, const Lookup& lookup,
                                    const CollectOptions& options,
                                    std::vector<std::string>& missing) {
  DatasetUses uses;
  const std::vector<std::string> claims = ClaimsOf(pod);
  const std::string where =
      fmt::format("failed to collect runtime infos from PVCs [{}]", fmt::join(claims, " "));
  std::vector<std::string> unread;
  std::set<std::string> seen;
  for (const std::string& claim : claims) {
    if (!seen.insert(claim).second) continue;
    auto pvc = lookup(resources::kPersistentVolumeClaim, {options.ns, claim});
    if (!pvc) {
      const bool tolerated = options.tolerate_missing_pvc && pvc.error().code == Code::kNotFound;
      (tolerated ? missing : unread).push_back(claim);
      continue;
    }
    const auto dataset = DatasetOfClaim(**pvc, claim);
    if (!dataset) continue;
    auto use = Resolve(*dataset, lookup, options);
    if (!use) {
      return Fail(use.error()
                      .Wrap(fmt::format("failed to build runtime info for PVC \"{}/{}\"",
                                        options.ns, claim))
                      .Wrap(where));
    }
    uses.emplace(claim, std::move(*use));
  }
  if (!unread.empty()) {
    return Fail(Code::kNotFound, fmt::format("{}: failed to get the following PVCs [{}]", where,
                                             fmt::join(unread, " ")));
  }
  return uses;
}

}  // namespace sluice::injection
