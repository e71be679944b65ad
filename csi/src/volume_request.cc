#include "sluice/csi/volume_request.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <openssl/sha.h>

#include "sluice/core/names.h"
#include "sluice/csi/target_path.h"

namespace sluice::csi {
namespace {

constexpr std::string_view kDefaultMountType = "fuse.alluxio-fuse";
constexpr std::string_view kFuseLabelPrefix = "fluid.io/f-";
constexpr std::size_t kMaxVolumeIdLength = 63;
constexpr std::size_t kMaxLabelName = 63;

std::string Attribute(const RawVolume& raw, const std::string& name) {
  const auto found = raw.attributes.find(name);
  return found == raw.attributes.end() ? "" : found->second;
}

tl::unexpected<Error> Wrong(std::string_view attribute, std::string_view value,
                            std::string_view fix) {
  return Fail(Code::kInvalidArgument,
              fmt::format("volume attribute {}=\"{}\": {}", attribute, value, fix));
}

bool IsLabelNameText(std::string_view text) {
  const auto inner = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return std::all_of(text.begin(), text.end(), inner);
}

// Only labels that start FUSE pods: a volume must not be a way to label nodes at will.
Result<std::string> ParseNodeLabel(const RawVolume& raw) {
  const std::string key = Attribute(raw, "mount_pod_node_selector_key");
  if (key.empty()) return key;
  const std::size_t name_length = key.size() - std::min(key.size(), key.find('/') + 1);
  if (!key.starts_with(kFuseLabelPrefix) || key.size() == kFuseLabelPrefix.size() ||
      name_length > kMaxLabelName ||
      !IsLabelNameText(std::string_view(key).substr(kFuseLabelPrefix.size()))) {
    return Wrong(
        "mount_pod_node_selector_key", key,
        fmt::format("must be a node label key \"{}<namespace>-<name>\"", kFuseLabelPrefix));
  }
  return key;
}

Result<std::string> ParseMountPoint(const RawVolume& raw, const VolumeRules& rules) {
  const std::string path = Attribute(raw, "fluid_path");
  if (path.empty()) {
    return Fail(Code::kInvalidArgument,
                "volume attribute fluid_path is missing: it is the host path of the dataset's mount"
                " and is written by the controller into the PersistentVolume");
  }
  SLUICE_TRY(clean, CleanAbsolutePath(path, "volume attribute fluid_path"), "source");
  if (!IsBelow(clean, rules.mount_root)) {
    return Wrong("fluid_path", path, fmt::format("must lie below {}", rules.mount_root));
  }
  return clean;
}

Result<PublishMethod> ParseMethod(const RawVolume& raw, const VolumeRules& rules) {
  const std::string method = Attribute(raw, "node_publish_method");
  if (method.empty()) return rules.default_method;
  if (method == "symlink") return PublishMethod::kSymlink;
  if (method == "bindMount") return PublishMethod::kBind;
  return Wrong("node_publish_method", method, "must be \"symlink\", \"bindMount\" or absent");
}

Result<bool> ParseSkipCheck(const RawVolume& raw) {
  const std::string name = "fluid.io/skip-check-mount-ready-target";
  const std::string value = Attribute(raw, name);
  if (value.empty() || value == "Sidecar") return false;
  if (value == "All" || value == "MountPod") return true;
  return Wrong(name, value, "must be \"All\", \"MountPod\", \"Sidecar\" or empty");
}

Result<MountSource> ParseSource(const RawVolume& raw, const VolumeRules& rules) {
  MountSource source;
  SLUICE_TRY(mount_point, ParseMountPoint(raw, rules), "volume " + raw.volume_id);
  SLUICE_TRY(node_label, ParseNodeLabel(raw), "volume " + raw.volume_id);
  source.mount_point = std::move(mount_point);
  source.node_label = std::move(node_label);
  source.mount_type = Attribute(raw, "mount_type");
  if (source.mount_type.empty()) source.mount_type = kDefaultMountType;
  source.runtime = {Attribute(raw, "runtime_namespace"), Attribute(raw, "runtime_name")};
  const bool named = !source.runtime.ns.empty() && !source.runtime.name.empty();
  if (!named && source.IsSluice()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("volume {}: volume attributes runtime_namespace and runtime_name are "
                            "required with mount_type {}",
                            raw.volume_id, names::kSluiceMountType));
  }
  // The mount of a native runtime is ours to make and to take away: never at another's place.
  if (source.IsSluice() &&
      source.mount_point !=
          names::SluiceMountPath(rules.mount_root, source.runtime.ns, source.runtime.name)) {
    return Wrong("fluid_path", source.mount_point,
                 fmt::format("the mount of runtime {} is {}", source.runtime.ToString(),
                             names::SluiceMountPath(rules.mount_root, source.runtime.ns,
                                                    source.runtime.name)));
  }
  source.key =
      named ? names::PersistentVolumeName(source.runtime.ns, source.runtime.name) : raw.volume_id;
  return source;
}

Status CheckKind(const RawVolume& raw) {
  if (raw.volume_id.empty()) return Fail(Code::kInvalidArgument, "volume_id is missing");
  if (!raw.has_capability) {
    return Fail(Code::kInvalidArgument,
                fmt::format("volume {}: volume_capability is missing", raw.volume_id));
  }
  if (raw.block) {
    return Fail(Code::kInvalidArgument,
                fmt::format("volume {}: a dataset is a file system, volumeMode Block is not "
                            "possible",
                            raw.volume_id));
  }
  if (Attribute(raw, "csi.storage.k8s.io/ephemeral") == "true") {
    return Fail(Code::kInvalidArgument,
                fmt::format("volume {}: inline ephemeral volumes are not supported; mount the "
                            "dataset's PersistentVolumeClaim",
                            raw.volume_id));
  }
  return Ok();
}

}  // namespace

bool MountSource::IsSluice() const { return mount_type == names::kSluiceMountType; }

Result<VolumeRequest> ParseVolume(const RawVolume& raw, const VolumeRules& rules) {
  SLUICE_CHECK(CheckKind(raw), "request");
  const std::string context = "volume " + raw.volume_id;
  VolumeRequest request;
  request.volume_id = raw.volume_id;
  SLUICE_TRY(source, ParseSource(raw, rules), "request");
  SLUICE_TRY(sub_path,
             CleanSubPath(Attribute(raw, "fluid_sub_path"), "volume attribute fluid_sub_path"),
             context);
  SLUICE_TRY(method, ParseMethod(raw, rules), context);
  SLUICE_TRY(skip_check, ParseSkipCheck(raw), context);
  request.source = std::move(source);
  request.sub_path = std::move(sub_path);
  // Whoever follows a symlink into a dataset follows those inside it as well, out of it if they
  // lead there; a bind is resolved here, beneath the mount.
  request.method = request.sub_path.empty() ? method : PublishMethod::kBind;
  request.skip_check = skip_check;
  request.reader_only = raw.reader_only;
  request.read_only =
      raw.reader_only || raw.readonly_flag ||
      std::find(raw.mount_flags.begin(), raw.mount_flags.end(), "ro") != raw.mount_flags.end();
  return request;
}

std::string VolumeIdFor(const std::string& name) {
  std::string id = name;
  std::transform(id.begin(), id.end(), id.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (id.size() <= kMaxVolumeIdLength) return id;
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(id.data()), id.size(), digest.data());
  std::string hex;
  for (unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace sluice::csi
