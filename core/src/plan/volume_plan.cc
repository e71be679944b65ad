#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"
#include "sluice/core/quantity.h"

#include "plan/plan_parts.h"

namespace sluice::plan {
namespace {

constexpr const char* kCapacityAnnotation = "pvc.fluid.io/resources.requests.storage";
constexpr const char* kDefaultCapacity = "100Pi";
constexpr const char* kMetadataListAnnotation = "data.fluid.io/metadataList";
constexpr const char* kSkipCheckAnnotation = "fluid.io/skip-check-mount-ready-target";
constexpr std::array<std::string_view, 4> kAccessModes = {"ReadWriteOnce", "ReadOnlyMany",
                                                          "ReadWriteMany", "ReadWriteOncePod"};

const Json& AnnotationsOf(const Json& object) {
  return ChildOf(ChildOf(object, "metadata"), "annotations");
}

Result<std::string> CapacityOf(const Json& dataset) {
  const std::string wanted = StringOf(AnnotationsOf(dataset), kCapacityAnnotation);
  if (wanted.empty()) return std::string(kDefaultCapacity);
  auto bytes = ParseBytes(wanted);
  if (!bytes) {
    return Fail(bytes.error().Wrap(fmt::format("metadata.annotations[{}]", kCapacityAnnotation)));
  }
  return wanted;
}

Result<Json> AccessModesOf(const Json& dataset) {
  const Json& modes = ItemsOf(ChildOf(dataset, "spec"), "accessModes");
  if (modes.empty()) return Json::array({"ReadOnlyMany"});
  for (const Json& mode : modes) {
    const std::string text = mode.is_string() ? mode.get<std::string>() : "";
    if (std::ranges::find(kAccessModes, text) == kAccessModes.end()) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("spec.accessModes: \"{}\" is not known; known: {}", text,
                              fmt::join(kAccessModes, ", ")));
    }
  }
  return modes;
}

// The member whose name equals `key` but for case: users write "Labels" as well.
const Json& MemberIgnoringCase(const Json& object, std::string_view key) {
  static const Json kNone;
  if (!object.is_object()) return kNone;
  for (const auto& [name, value] : object.items()) {
    if (std::ranges::equal(name, key, [](unsigned char a, unsigned char b) {
          return std::tolower(a) == std::tolower(b);
        })) {
      return value;
    }
  }
  return kNone;
}

// Labels and annotations that the runtime's metadata list has for objects of this kind.
Status AddUserMetadata(const Json& runtime, const std::string& kind, Json& metadata) {
  const std::string text = StringOf(AnnotationsOf(runtime), kMetadataListAnnotation);
  if (text.empty()) return Ok();
  const Json list = Json::parse(text, nullptr, false);
  if (!list.is_array()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("metadata.annotations[{}]: no JSON array", kMetadataListAnnotation));
  }
  for (const Json& entry : list) {
    const Json& selector = MemberIgnoringCase(entry, "selector");
    const Json& wanted = MemberIgnoringCase(selector, "kind");
    if (!wanted.is_string() || wanted.get<std::string>() != kind) continue;
    for (const char* part : {"labels", "annotations"}) {
      const Json& values = MemberIgnoringCase(entry, part);
      if (!values.is_object()) continue;
      // What we depend on stays ours.
      for (const auto& [key, value] : values.items()) ObjectIn(metadata, part).emplace(key, value);
    }
  }
  return Ok();
}

Json MetadataOf(const RuntimeIdentity& identity, const std::string& name) {
  return {{"name", name},
          {"labels", {{identity.worker_label, "true"}, {kDatasetIdLabel, identity.dataset_id}}},
          {"annotations", {{kCreatedByAnnotation, "fluid"}}}};
}

Json VolumeAttributes(const PlanInput& input, const RuntimeIdentity& identity) {
  Json attributes = {{"fluid_path", identity.mount_path},
                     {"mount_type", input.profile.mount_type},
                     {"runtime_namespace", identity.ns},
                     {"runtime_name", identity.name},
                     {"mount_pod_node_selector_key", identity.fuse_label}};
  const Json& annotations = AnnotationsOf(input.runtime);
  if (annotations.contains(kSkipCheckAnnotation)) {
    attributes[kSkipCheckAnnotation] = StringOf(annotations, kSkipCheckAnnotation);
  }
  return attributes;
}

Json NodeAffinity(const Json& node_selector) {
  Json expressions = Json::array();
  for (const auto& [key, value] : node_selector.items()) {
    expressions.push_back({{"key", key}, {"operator", "In"}, {"values", Json::array({value})}});
  }
  return {{"required",
           {{"nodeSelectorTerms", Json::array({{{"matchExpressions", std::move(expressions)}}})}}}};
}

}  // namespace

Result<std::vector<PlannedObject>> PlanVolumes(const PlanInput& input,
                                               const RuntimeIdentity& identity) {
  const auto capacity = CapacityOf(input.dataset);
  if (!capacity) return Fail(capacity.error());
  const auto modes = AccessModesOf(input.dataset);
  if (!modes) return Fail(modes.error());
  Json volume_metadata = MetadataOf(identity, identity.persistent_volume);
  SLUICE_CHECK(AddUserMetadata(input.runtime, "PersistentVolume", volume_metadata),
               input.profile.runtime.kind);
  Json claim_metadata = MetadataOf(identity, identity.name);
  claim_metadata["namespace"] = identity.ns;
  SLUICE_CHECK(AddUserMetadata(input.runtime, "PersistentVolumeClaim", claim_metadata),
               input.profile.runtime.kind);

  Json attributes = VolumeAttributes(input, identity);
  // Read from a label of the volume itself, wherever the user put it.
  const std::string method =
      StringOf(ChildOf(volume_metadata, "labels"), "fluid.io/node-publish-method");
  if (!method.empty()) attributes["node_publish_method"] = method;
  Json volume = {{"apiVersion", "v1"},
                 {"kind", "PersistentVolume"},
                 {"metadata", std::move(volume_metadata)},
                 {"spec",
                  {{"capacity", {{"storage", *capacity}}},
                   {"accessModes", *modes},
                   {"persistentVolumeReclaimPolicy", "Retain"},
                   {"storageClassName", names::kStorageClass},
                   {"volumeMode", "Filesystem"},
                   {"claimRef", {{"namespace", identity.ns}, {"name", identity.name}}},
                   {"csi",
                    {{"driver", names::kCsiDriver},
                     {"volumeHandle", identity.persistent_volume},
                     {"volumeAttributes", std::move(attributes)}}}}}};
  const Json& selector = ChildOf(ChildOf(ChildOf(input.runtime, "spec"), "fuse"), "nodeSelector");
  if (!selector.empty()) volume["spec"]["nodeAffinity"] = NodeAffinity(selector);

  Json claim = {{"apiVersion", "v1"},
                {"kind", "PersistentVolumeClaim"},
                {"metadata", std::move(claim_metadata)},
                {"spec",
                 {{"accessModes", *modes},
                  {"resources", {{"requests", {{"storage", *capacity}}}}},
                  {"volumeName", identity.persistent_volume},
                  {"storageClassName", names::kStorageClass},
                  {"volumeMode", "Filesystem"}}}};
  std::vector<PlannedObject> objects;
  objects.push_back({.type = resources::kPersistentVolume, .object = std::move(volume)});
  objects.push_back({.type = resources::kPersistentVolumeClaim, .object = std::move(claim)});
  return objects;
}

}  // namespace sluice::plan
