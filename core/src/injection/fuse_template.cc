#include "fuse_template.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"

namespace sluice::injection {
namespace {

constexpr std::string_view kOtherMountVolume = "thin-fuse-mount";

// The volumeMount in which a mount type's FUSE client mounts.
struct MountVolume {
  std::string_view mount_type;
  std::string_view volume;
  // Fluid has no sidecars of this type, and so no name that its templates must use: the mount over
  // the dataset's own host directory will do.
  bool or_over_host_path = false;
};
constexpr std::array<MountVolume, 10> kMountVolumes{{
    {"fuse.alluxio-fuse", "alluxio-fuse-mount"},
    {"alluxio", "alluxio-fuse-mount"},
    {"jindo", "jindofs-fuse-mount"},
    {"fuse.jindofs-fuse", "jindofs-fuse-mount"},
    {"JuiceFS", "juicefs-fuse-mount"},
    {"juicefs", "juicefs-fuse-mount"},
    {"alifuse.aliyun-alinas-efc", "efc-fuse-mount", true},
    {"vineyard-fuse", "vineyard-fuse-mount", true},
    {"cache", kOtherMountVolume, true},
    {names::kSluiceMountType, names::kSluiceMountVolume},
}};

constexpr std::array<std::string_view, 6> kCacheDirectoryVolumes{
    "datavolume-", "volume-localtime", "cache-dir", "mem", "ssd", "hdd"};
constexpr std::array<std::string_view, 7> kHostMountVolumes{
    "alluxio-fuse-mount", "jindofs-fuse-mount", "juicefs-fuse-mount", "thin-fuse-mount",
    "efc-fuse-mount",     "efc-sock",           "sluice-fuse-mount"};
constexpr std::array<std::string_view, 4> kDeviceVolumes{
    "alluxio-fuse-device", "jindofs-fuse-device", "thin-fuse-device", "sluice-fuse-device"};

template <std::size_t N>
bool StartsWithAny(const std::string& name, const std::array<std::string_view, N>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

void EraseIf(Json& list, const std::function<bool(const Json&)>& unwanted) {
  if (!list.is_array()) return;
  auto& items = list.get_ref<Json::array_t&>();
  items.erase(std::remove_if(items.begin(), items.end(), unwanted), items.end());
}

void DropVolumes(FuseTemplate& fuse, const std::function<bool(const std::string&)>& unwanted) {
  const auto by_name = [&](const Json& item) { return unwanted(StringOf(item, "name")); };
  EraseIf(fuse.volumes, by_name);
  if (fuse.container.contains("volumeMounts")) EraseIf(fuse.container["volumeMounts"], by_name);
}

// Whether the host path of the template's volume holds the dataset's mount point.
bool HoldsMountPoint(const FuseTemplate& fuse, const std::string& volume_name) {
  for (const Json& volume : fuse.volumes) {
    if (StringOf(volume, "name") != volume_name) continue;
    const std::string path = StringOf(ChildOf(volume, "hostPath"), "path");
    return !path.empty() && (fuse.host_path == path || fuse.host_path.starts_with(path + "/"));
  }
  return false;
}

MountVolume MountVolumeOf(std::string_view mount_type) {
  const auto* known =
      std::find_if(kMountVolumes.begin(), kMountVolumes.end(),
                   [&](const MountVolume& entry) { return entry.mount_type == mount_type; });
  return known == kMountVolumes.end() ? MountVolume{mount_type, kOtherMountVolume} : *known;
}

Status FindMountDirectory(const std::string& source, FuseTemplate& fuse) {
  const MountVolume wanted = MountVolumeOf(fuse.mount_type);
  const Json& mounts = ItemsOf(fuse.container, "volumeMounts");
  for (const Json& mount : mounts) {
    if (StringOf(mount, "name") == wanted.volume) {
      fuse.mount_volume = wanted.volume;
      fuse.mount_dir = StringOf(mount, "mountPath");
      return Ok();
    }
  }
  for (const Json& mount : mounts) {
    if (wanted.or_over_host_path && StringOf(mount, "mountPropagation") == "Bidirectional" &&
        HoldsMountPoint(fuse, StringOf(mount, "name"))) {
      fuse.mount_volume = StringOf(mount, "name");
      fuse.mount_dir = StringOf(mount, "mountPath");
      return Ok();
    }
  }
  return Fail(Code::kInvalidArgument,
              fmt::format("{}: the first container has no volumeMount \"{}\" for mount type \"{}\"",
                          source, wanted.volume, fuse.mount_type));
}

Status ReadVolume(const DatasetUse& use, const Lookup& lookup, FuseTemplate& fuse) {
  const std::string name = names::PersistentVolumeName(use.ns, use.name);
  auto volume = lookup(resources::kPersistentVolume, {"", name});
  if (!volume) {
    if (volume.error().code != Code::kNotFound) return Fail(volume.error());
    return Fail(Code::kNotFound, fmt::format("PersistentVolume {} of dataset {} not found: wait "
                                             "until the runtime has created it",
                                             name, use.FullName()));
  }
  const Json& attributes = ChildOf(ChildOf(ChildOf(**volume, "spec"), "csi"), "volumeAttributes");
  fuse.host_path = StringOf(attributes, "fluid_path");
  fuse.mount_type = StringOf(attributes, "mount_type");
  fuse.sub_path = StringOf(attributes, "fluid_sub_path");
  if (fuse.host_path.empty() || fuse.host_path.front() != '/') {
    return Fail(Code::kInvalidArgument,
                fmt::format("PersistentVolume {}: spec.csi.volumeAttributes.fluid_path must be an "
                            "absolute path, is \"{}\"",
                            name, fuse.host_path));
  }
  return Ok();
}

// What holds the pod template: Sluice's own for its client's sidecar, else the DaemonSet.
Result<std::shared_ptr<const Json>> ReadTemplate(const DatasetUse& use, const Lookup& lookup,
                                                 FuseTemplate& fuse, std::string& source) {
  fuse.native = fuse.mount_type == names::kSluiceMountType;
  const ResourceType& type = fuse.native ? resources::kPodTemplate : resources::kDaemonSet;
  const std::string name = fuse.native ? use.name + "-fuse-sidecar" : use.fuse_daemon_set;
  source = fmt::format("{} {}/{}", type.kind, use.ns, name);
  auto object = lookup(type, {use.ns, name});
  if (!object) {
    if (object.error().code != Code::kNotFound) return Fail(object.error());
    return Fail(Code::kNotFound, source + " not found: wait until the runtime has created it");
  }
  return object;
}

void KeepMountedVolumes(const Json& volumes, FuseTemplate& fuse) {
  std::set<std::string> mounted;
  for (const Json& mount : ItemsOf(fuse.container, "volumeMounts")) {
    mounted.insert(StringOf(mount, "name"));
  }
  for (const Json& volume : volumes) {
    if (mounted.contains(StringOf(volume, "name"))) fuse.volumes.push_back(volume);
  }
}

// Whether a volume of this name is a directory of the node that mounts are made in.
bool IsHostMount(const FuseTemplate& fuse, const std::string& name) {
  return name == fuse.mount_volume || StartsWithAny(name, kHostMountVolumes);
}

void DropPrivileges(FuseTemplate& fuse) {
  DropVolumes(fuse, [&](const std::string& name) {
    return IsHostMount(fuse, name) || StartsWithAny(name, kDeviceVolumes);
  });
  const auto context = fuse.container.find("securityContext");
  if (context == fuse.container.end() || !context->is_object()) return;
  (*context)["privileged"] = false;
  if (ItemsOf(ChildOf(*context, "capabilities"), "add").empty()) return;
  EraseIf((*context)["capabilities"]["add"],
          [](const Json& capability) { return capability == "SYS_ADMIN"; });
}

void MakeHostPathsUnique(const std::string& unique, FuseTemplate& fuse) {
  for (Json& volume : fuse.volumes) {
    if (!IsHostMount(fuse, StringOf(volume, "name"))) continue;
    if (ChildOf(volume, "hostPath").empty()) continue;
    Json& path = volume["hostPath"]["path"];
    path = fmt::format("{}/{}", StringOf(volume["hostPath"], "path"), unique);
  }
}

}  // namespace

Result<FuseTemplate> LoadFuseTemplate(const DatasetUse& use, const Lookup& lookup) {
  FuseTemplate fuse;
  auto volume = ReadVolume(use, lookup, fuse);
  if (!volume) return Fail(volume.error());
  std::string source;
  auto object = ReadTemplate(use, lookup, fuse, source);
  if (!object) return Fail(object.error());
  const Json& owner = fuse.native ? **object : ChildOf(**object, "spec");
  const Json& spec = ChildOf(ChildOf(owner, "template"), "spec");
  const Json& containers = ItemsOf(spec, "containers");
  if (containers.empty() || !containers[0].is_object()) {
    return Fail(Code::kInvalidArgument, source + ": the pod template has no containers");
  }
  fuse.container = containers[0];
  KeepMountedVolumes(ItemsOf(spec, "volumes"), fuse);
  auto directory = FindMountDirectory(source, fuse);
  if (!directory) return Fail(directory.error());
  return fuse;
}

void AdaptTemplate(const TemplateRules& rules, FuseTemplate& fuse) {
  if (!rules.keep_cache_directories) {
    DropVolumes(
        fuse, [](const std::string& name) { return StartsWithAny(name, kCacheDirectoryVolumes); });
  }
  if (rules.unprivileged) DropPrivileges(fuse);
  if (!rules.keep_metrics_ports && fuse.container.contains("ports")) {
    EraseIf(fuse.container["ports"],
            [](const Json& port) { return StringOf(port, "name").ends_with("-metrics"); });
  }
  if (!rules.unique.empty()) MakeHostPathsUnique(rules.unique, fuse);
}

std::string DatasetHostPath(const FuseTemplate& fuse, const std::string& unique) {
  std::string path = fuse.host_path;
  if (!unique.empty()) {
    const std::size_t slash = path.rfind('/');
    path = fmt::format("{}/{}{}", path.substr(0, slash), unique, path.substr(slash));
  }
  return fuse.sub_path.empty() ? path : fmt::format("{}/{}", path, fuse.sub_path);
}

}  // namespace sluice::injection
