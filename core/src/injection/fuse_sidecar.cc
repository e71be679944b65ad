#include "fuse_sidecar.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"

#include "check_scripts.h"
#include "fuse_template.h"
#include "keys.h"
#include "pod_edit.h"
#include "pod_security.h"
#include "prefetch_container.h"
#include "volume_names.h"

namespace sluice::injection {
namespace {

constexpr const char* kSidecarPrefix = "fluid-fuse";
constexpr const char* kInitPrefix = "init-fluid-fuse";
// A FUSE template may use datasets itself, whose templates may use datasets, …
constexpr int kMaxRounds = 8;
// As long as the startup probe of a native sidecar is repeated.
constexpr const char* kHookWaits = "--wait=120";

bool IsNative(const DatasetUse& use) { return use.runtime_type == names::kSluiceRuntimeType; }

void AddConfigMap(Json config_map, std::vector<Json>& config_maps) {
  const auto same = [&](const Json& other) { return KeyOf(other) == KeyOf(config_map); };
  if (std::none_of(config_maps.begin(), config_maps.end(), same)) {
    config_maps.push_back(std::move(config_map));
  }
}

// Whether some container of spec.<list> mounts one of the volumes.
bool ListMounts(const Json& pod, const char* list, const std::set<std::string>& volumes) {
  const Json& containers = ItemsOf(ChildOf(pod, "spec"), list);
  return std::any_of(containers.begin(), containers.end(),
                     [&](const Json& container) { return MountsAny(container, volumes); });
}

// The claim's volumes become the host directory; their mounts see what is mounted there later.
void ReplaceClaim(const std::string& claim, const std::string& host_path, Json& pod) {
  const auto volumes = VolumesOfClaim(pod, claim);
  std::set<std::string> read_only;
  for (Json& volume : pod["spec"]["volumes"]) {
    const Json& source = ChildOf(volume, "persistentVolumeClaim");
    if (source.empty() || StringOf(source, "claimName") != claim) continue;
    if (FlagOf(source, "readOnly")) read_only.insert(StringOf(volume, "name"));
    volume.erase("persistentVolumeClaim");
    volume["hostPath"] = Json::object({{"path", host_path}});
  }
  for (Json* container : AllContainers(pod)) {
    if (!MountsAny(*container, volumes)) continue;
    for (Json& mount : (*container)["volumeMounts"]) {
      const std::string name = StringOf(mount, "name");
      if (!mount.is_object() || !volumes.contains(name)) continue;
      mount["mountPropagation"] = "HostToContainer";
      // A hostPath volume cannot be read-only itself.
      if (read_only.contains(name)) mount["readOnly"] = true;
    }
  }
}

std::string HostPathOf(const Json& volume) { return StringOf(ChildOf(volume, "hostPath"), "path"); }

// A sidecar that an earlier call put into the pod.
struct PresentSidecar {
  std::string dataset;  // its name; the namespace is the pod's
  std::string path;     // on the node: what its users mount; empty where the platform mounts
  std::set<std::string> volumes = {};  // of the pod, that are this path
};

// The directory of the node in which the container mounts.
std::string MountDirectoryOf(const Json& pod, const Json& container) {
  for (const Json& mount : ItemsOf(container, "volumeMounts")) {
    if (StringOf(mount, "mountPropagation") != "Bidirectional") continue;
    for (const Json& volume : ItemsOf(ChildOf(pod, "spec"), "volumes")) {
      if (StringOf(volume, "name") == StringOf(mount, "name")) return HostPathOf(volume);
    }
  }
  return "";
}

std::vector<PresentSidecar> PresentSidecars(const Json& pod, const std::string& ns) {
  std::vector<PresentSidecar> sidecars;
  for (const char* list : {"initContainers", "containers"}) {
    for (const Json& container : ItemsOf(ChildOf(pod, "spec"), list)) {
      const std::string name = StringOf(container, "name");
      if (!name.starts_with(kSidecarPrefix)) continue;
      PresentSidecar sidecar{.dataset = LabelOf(pod, keys::kDatasetName + name), .path = ""};
      if (sidecar.dataset.empty() || LabelOf(pod, keys::kDatasetNamespace + name) != ns) continue;
      const std::string directory = MountDirectoryOf(pod, container);
      for (const Json& volume : ItemsOf(ChildOf(pod, "spec"), "volumes")) {
        const std::string path = HostPathOf(volume);
        if (directory.empty() || !path.starts_with(directory + "/")) continue;
        if (sidecar.path.empty()) sidecar.path = path;
        if (path == sidecar.path) sidecar.volumes.insert(StringOf(volume, "name"));
      }
      sidecars.push_back(std::move(sidecar));
    }
  }
  return sidecars;
}

// A mount without a word about propagation would miss what the sidecar mounts when it starts again.
void SeeLaterMounts(const std::vector<PresentSidecar>& sidecars, Json& pod) {
  for (Json* container : AllContainers(pod)) {
    for (const PresentSidecar& sidecar : sidecars) {
      if (!MountsAny(*container, sidecar.volumes)) continue;
      for (Json& mount : (*container)["volumeMounts"]) {
        if (mount.is_object() && sidecar.volumes.contains(StringOf(mount, "name")) &&
            StringOf(mount, "mountPropagation").empty()) {
          mount["mountPropagation"] = "HostToContainer";
        }
      }
    }
  }
}

// One round: the datasets that the pod uses now.
class Round {
 public:
  Round(const SidecarRequest& request, const DatasetUses& uses, Outcome& outcome)
      : request_(request), uses_(uses), outcome_(outcome), pod_(*outcome.pod) {}

  Status Run() {
    SLUICE_CHECK(AddReadinessScript(), "readiness script");
    std::size_t number = FirstNumber();
    for (const auto& [claim, use] : uses_) {
      while (IsNumberTaken(number)) ++number;
      SLUICE_CHECK(InjectDataset(claim, use, fmt::format("-{}", number++)),
                   fmt::format("claim \"{}\"", claim));
    }
    return Ok();
  }

 private:
  std::size_t FirstNumber() const {
    std::size_t count = 0;
    for (const char* list : {"containers", "initContainers"}) {
      for (const Json& container : ItemsOf(ChildOf(pod_, "spec"), list)) {
        if (StringOf(container, "name").starts_with(kSidecarPrefix)) ++count;
      }
    }
    return count;
  }

  // Whether the pod has a container of that number already, perhaps its user's own.
  bool IsNumberTaken(std::size_t number) const {
    return HasContainer(pod_, fmt::format("{}-{}", kSidecarPrefix, number)) ||
           HasContainer(pod_, fmt::format("{}-{}", kInitPrefix, number));
  }

  // Mount paths and runtime types of the container's datasets, in the order of the claims.
  std::string HookArguments(const Json& container) const {
    std::vector<std::string> paths;
    std::vector<std::string> types;
    for (const auto& [claim, use] : uses_) {
      const auto volumes = VolumesOfClaim(pod_, claim);
      for (const Json& mount : ItemsOf(container, "volumeMounts")) {
        if (!volumes.contains(StringOf(mount, "name"))) continue;
        paths.push_back(StringOf(mount, "mountPath"));
        types.push_back(use.runtime_type);
      }
    }
    return fmt::format("{} {}", fmt::join(paths, ":"), fmt::join(types, ":"));
  }

  // Lets application containers wait for their datasets. Sluice's own client needs no script: its
  // probe holds back what comes after it.
  Status AddReadinessScript() {
    DatasetUses checked;
    std::copy_if(uses_.begin(), uses_.end(), std::inserter(checked, checked.end()),
                 [](const auto& entry) { return !IsNative(entry.second); });
    if (checked.empty()) return Ok();
    SLUICE_TRY(name, FreeVolumeName(pod_, kAppConfigMap, request_.unique), "volume");
    const bool add_hook = LabelOf(pod_, keys::kAppPostStart) == keys::kTrue;
    const auto volumes = VolumesOfClaims(pod_, checked);
    for (Json* container : AllContainers(pod_)) {
      if (!MountsAny(*container, volumes)) continue;
      // Before the mount of the script itself, which is no dataset.
      if (add_hook && MayHaveHook(*container)) {
        ObjectIn(*container, "lifecycle")["postStart"] =
            BashHook(fmt::format("time /{} {}", kAppScript, HookArguments(*container)));
      }
      ListIn(*container, "volumeMounts").push_back(ScriptMount(name, kAppScript));
    }
    ListIn(pod_["spec"], "volumes").push_back(ScriptVolume(name, kAppConfigMap));
    AddConfigMap(AppConfigMap(request_.collect.ns), outcome_.config_maps);
    return Ok();
  }

  // The API server refuses hooks on init containers that run to completion.
  bool MayHaveHook(const Json& container) const {
    if (RunsPrefetchProgram(container)) return false;
    if (!ChildOf(ChildOf(container, "lifecycle"), "postStart").empty()) return false;
    const Json& ordinary = ItemsOf(pod_["spec"], "containers");
    const bool is_init = std::none_of(ordinary.begin(), ordinary.end(),
                                      [&](const Json& other) { return &other == &container; });
    return !is_init || StringOf(container, "restartPolicy") == "Always";
  }

  // "random-suffix" gives each pod directories of its own on the node. Sluice's own sidecar has
  // them unless the pod asks for fixed ones: two pods may not serve one directory.
  std::string UniqueDirectory(const FuseTemplate& fuse) {
    const std::string mode = AnnotationOf(pod_, keys::kHostPathMode);
    const bool unique = mode == "random-suffix" || (fuse.native && mode != "fixed");
    return unique ? request_.unique.HostDirectory(NameInPaths(pod_)) : "";
  }

  Status InjectDataset(const std::string& claim, const DatasetUse& use, const std::string& suffix) {
    auto loaded = LoadFuseTemplate(use, request_.lookup);
    if (!loaded) return Fail(loaded.error());
    FuseTemplate fuse = std::move(*loaded);
    const std::string unique = UniqueDirectory(fuse);
    AdaptTemplate({.keep_cache_directories =
                       fuse.native || LabelOf(pod_, keys::kCacheDirInject) == keys::kTrue,
                   .unprivileged = request_.platform == Platform::kUnprivileged,
                   .keep_metrics_ports = fuse.native || use.scrape_sidecar,
                   .unique = unique},
                  fuse);
    AddReadinessHook(use, fuse);
    if (use.scrape_sidecar) AskForScraping();
    const auto volumes = VolumesOfClaim(pod_, claim);
    const bool in_containers = ListMounts(pod_, "containers", volumes);
    const bool in_init = ListMounts(pod_, "initContainers", volumes);
    if (fuse.native && in_init && request_.placement == SidecarPlacement::kLegacy) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("an init container mounts dataset {}, but an ordinary sidecar starts "
                              "after all init containers; set FUSE_SIDECAR_INJECTION_MODE="
                              "native-sidecar (Kubernetes 1.29 or later)",
                              use.FullName()));
    }
    ReplaceClaim(claim, DatasetHostPath(fuse, unique), pod_);
    SLUICE_CHECK(AppendVolumes(suffix, fuse), "volumes");
    Place(use, std::move(fuse.container), suffix, {in_containers, in_init});
    return Ok();
  }

  // A value that is there stays, whatever it is.
  void AskForScraping() {
    if (ChildOf(ChildOf(pod_, "metadata"), "annotations").contains(keys::kScrape)) return;
    SetAnnotation(pod_, keys::kScrape, keys::kTrue);
  }

  // Holds back what starts after the sidecar until its mount answers.
  void AddReadinessHook(const DatasetUse& use, FuseTemplate& fuse) {
    Json& container = fuse.container;
    if (LabelOf(pod_, keys::kFusePostStart) == "false") return;
    if (fuse.native) {
      if (request_.placement == SidecarPlacement::kNative) return;
      // Ordinary containers wait for the hook of the one before, not for its probes.
      Json exec = ChildOf(ChildOf(container, "startupProbe"), "exec");
      if (exec.empty()) return;
      // A probe is repeated, a hook is not.
      ListIn(exec, "command").push_back(kHookWaits);
      ObjectIn(container, "lifecycle")["postStart"] = Json::object({{"exec", exec}});
      container.erase("startupProbe");
      return;
    }
    constexpr const char* kVolume = "default-check-mount";
    ObjectIn(container, "lifecycle")["postStart"] = BashHook(fmt::format(
        "time /{} {} {} {}", kSidecarScript, fuse.mount_dir, fuse.mount_type, fuse.sub_path));
    ListIn(container, "volumeMounts").push_back(ScriptMount(kVolume, kSidecarScript));
    fuse.volumes.push_back(ScriptVolume(kVolume, SidecarConfigMapName(fuse.mount_type)));
    AddConfigMap(SidecarConfigMap(use, fuse.mount_type), outcome_.config_maps);
  }

  // Moves the template's volumes into the pod, under names of their own there, and gives the mounts
  // the same names.
  Status AppendVolumes(const std::string& suffix, FuseTemplate& fuse) {
    std::map<std::string, std::string> renamed;
    for (Json& volume : fuse.volumes) {
      const std::string name = StringOf(volume, "name");
      SLUICE_TRY(free_name, FreeVolumeName(pod_, name + suffix, request_.unique), "name");
      volume["name"] = free_name;
      renamed[name] = std::move(free_name);
      ListIn(pod_["spec"], "volumes").push_back(std::move(volume));
    }
    if (ItemsOf(fuse.container, "volumeMounts").empty()) return Ok();
    for (Json& mount : fuse.container["volumeMounts"]) {
      const auto found = renamed.find(StringOf(mount, "name"));
      if (found != renamed.end()) mount["name"] = found->second;
    }
    return Ok();
  }

  struct UsedBy {
    bool containers = false;
    bool init_containers = false;
  };

  void Place(const DatasetUse& use, Json container, const std::string& suffix,
             const UsedBy& used_by) {
    if (request_.placement == SidecarPlacement::kNative) {
      if (!used_by.containers && !used_by.init_containers) return;
      container["restartPolicy"] = "Always";
      Put("initContainers", kSidecarPrefix + suffix, std::move(container), use);
      return;
    }
    Json placeholder = used_by.init_containers ? container : Json();
    if (used_by.containers) {
      Put("containers", kSidecarPrefix + suffix, std::move(container), use);
    }
    if (used_by.init_containers) {
      for (const char* field : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}) {
        placeholder.erase(field);
      }
      placeholder["command"] = Json::array({"sleep"});
      placeholder["args"] = Json::array({"2s"});
      Put("initContainers", kInitPrefix + suffix, std::move(placeholder), use);
    }
  }

  void Put(const char* list, const std::string& name, Json container, const DatasetUse& use) {
    container["name"] = name;
    ShieldFromPodSecurity(pod_, name, container, outcome_.warnings);
    Prepend(pod_, list, std::move(container));
    SetLabel(pod_, keys::kDatasetName + name, use.name);
    SetLabel(pod_, keys::kDatasetNamespace + name, use.ns);
    outcome_.reasons.push_back({"dataset_sidecar", use.FullName()});
  }

  const SidecarRequest& request_;
  const DatasetUses& uses_;
  Outcome& outcome_;
  Json& pod_;
};

}  // namespace

Status InjectFuseSidecars(const SidecarRequest& request, const DatasetUses& uses,
                          Outcome& outcome) {
  DatasetUses current = uses;
  std::vector<std::string> missing;  // reported by the first collection already
  for (int round = 0; !current.empty(); ++round) {
    if (round == kMaxRounds) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("FUSE templates keep mounting further datasets after {} rounds; the "
                              "last one is {}",
                              kMaxRounds, current.begin()->second.FullName()));
    }
    auto status = Round(request, current, outcome).Run();
    if (!status) return status;
    auto next = CollectDatasets(*outcome.pod, request.lookup, request.collect, missing);
    if (!next) return Fail(next.error());
    current = std::move(*next);
  }
  SetLabel(*outcome.pod, keys::kInjectDone, keys::kTrue);
  SetLabel(*outcome.pod, keys::kManagedBy, "fluid");
  return Ok();
}

bool HasFuseSidecar(const Json& pod, const std::string& ns) {
  return !PresentSidecars(pod, ns).empty();
}

Status CompleteFuseSidecars(const SidecarRequest& request, const DatasetUses& uses,
                            Outcome& outcome) {
  Json& pod = *outcome.pod;
  const auto sidecars = PresentSidecars(pod, request.collect.ns);
  SeeLaterMounts(sidecars, pod);
  DatasetUses further;
  for (const auto& [claim, use] : uses) {
    const std::string& dataset = use.name;
    const auto sidecar = std::find_if(sidecars.begin(), sidecars.end(), [&](const auto& present) {
      return present.dataset == dataset;
    });
    if (sidecar == sidecars.end()) {
      further.emplace(claim, use);
    } else if (!sidecar->path.empty()) {
      ReplaceClaim(claim, sidecar->path, pod);
    } else {
      return Fail(Code::kInvalidArgument,
                  fmt::format("claim \"{}\" was added after the sidecar of dataset {}, and where "
                              "that mounts cannot be seen; let the new container mount the volume "
                              "that the pod had",
                              claim, use.FullName()));
    }
  }
  return further.empty() ? Ok() : InjectFuseSidecars(request, further, outcome);
}

}  // namespace sluice::injection
