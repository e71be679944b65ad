#include "informed_resources.h"

#include <array>
#include <initializer_list>
#include <utility>

#include "sluice/core/json_access.h"

namespace sluice::webhook {
namespace {

constexpr const char* kPacked = "packed";

// Keeps only these members of an object.
Json Only(const Json& object, std::initializer_list<const char*> keys) {
  Json kept = Json::object();
  for (const char* key : keys) {
    if (const auto member = object.find(key); member != object.end()) kept[key] = *member;
  }
  return kept;
}

// The metadata that finds and versions an object.
Json Stem(const Json& object) {
  return Json::object(
      {{"metadata", Only(ChildOf(object, "metadata"), {"name", "namespace", "resourceVersion"})}});
}

// Sets `parent[key]` unless that would say nothing.
void KeepUnlessEmpty(Json& parent, const char* key, Json value) {
  if (!value.empty()) parent[key] = std::move(value);
}

void KeepLabels(Json& object) {
  object =
      Json::object({{"metadata", Only(ChildOf(object, "metadata"),
                                      {"name", "namespace", "uid", "resourceVersion", "labels"})}});
}

void KeepVolumeAttributes(Json& volume) {
  Json kept = Stem(volume);
  const Json& attributes = ChildOf(ChildOf(ChildOf(volume, "spec"), "csi"), "volumeAttributes");
  if (attributes.contains("fluid_path")) {
    kept["spec"]["csi"]["volumeAttributes"] =
        Only(attributes, {"fluid_path", "mount_type", "fluid_sub_path"});
  }
  volume = std::move(kept);
}

// A template is most of what there is of a dataset, and only pods that get a sidecar need it.
void Pack(const Json& kept, Json& object) {
  object = Stem(object);
  auto bytes = Json::to_cbor(kept);
  bytes.shrink_to_fit();
  object[kPacked] = Json::binary(std::move(bytes));
}

Json PodSpec(const Json& spec) { return Only(spec, {"containers", "volumes"}); }

// DaemonSets that are no FUSE clients keep only their name.
void KeepFuseTemplate(Json& daemon_set) {
  Json kept = Stem(daemon_set);
  const std::string name = StringAt(daemon_set, "/metadata/name");
  if (!name.ends_with("-fuse") && !name.ends_with("-client")) {
    daemon_set = std::move(kept);
    return;
  }
  kept["spec"]["template"]["spec"] =
      PodSpec(ChildOf(ChildOf(ChildOf(daemon_set, "spec"), "template"), "spec"));
  Pack(kept, daemon_set);
}

void KeepSidecarTemplate(Json& pod_template) {
  Json kept = Stem(pod_template);
  if (!StringAt(pod_template, "/metadata/name").ends_with("-fuse-sidecar")) {
    pod_template = std::move(kept);
    return;
  }
  kept["template"]["spec"] = PodSpec(ChildOf(ChildOf(pod_template, "template"), "spec"));
  Pack(kept, pod_template);
}

void KeepBinding(Json& dataset) {
  Json kept = Stem(dataset);
  const Json& metadata = ChildOf(dataset, "metadata");
  kept["metadata"].update(Only(metadata, {"uid"}));
  // Only a dataset of one mount can be another's reference.
  const Json& mounts = ItemsOf(ChildOf(dataset, "spec"), "mounts");
  if (mounts.size() == 1) {
    kept["spec"]["mounts"] = Json::array({Only(mounts[0], {"mountPoint"})});
  }
  const Json& status = ChildOf(dataset, "status");
  Json& kept_status = kept["status"] = Only(status, {"phase"});
  for (const Json& runtime : ItemsOf(status, "runtimes")) {
    ListIn(kept_status, "runtimes").push_back(Only(runtime, {"type"}));
  }
  for (const Json& condition : ItemsOf(status, "conditions")) {
    if (StringOf(condition, "type") != "NotReady") continue;
    ListIn(kept_status, "conditions").push_back(Only(condition, {"type", "message"}));
  }
  dataset = std::move(kept);
}

void KeepPlacement(Json& runtime) {
  Json kept = Stem(runtime);
  const Json& spec = ChildOf(runtime, "spec");
  Json kept_spec = Json::object();
  KeepUnlessEmpty(kept_spec, "fuse", Only(ChildOf(spec, "fuse"), {"nodeSelector", "metrics"}));
  KeepUnlessEmpty(kept_spec, "client", Only(ChildOf(spec, "client"), {"nodeSelector"}));
  KeepUnlessEmpty(kept, "spec", std::move(kept_spec));
  constexpr const char* kRequired = "requiredDuringSchedulingIgnoredDuringExecution";
  const Json& affinity = ChildOf(ChildOf(runtime, "status"), "cacheAffinity");
  if (!ItemsOf(ChildOf(affinity, kRequired), "nodeSelectorTerms").empty()) {
    kept["status"]["cacheAffinity"] = Only(affinity, {kRequired});
  }
  runtime = std::move(kept);
}

kube::InformedResource Watched(ResourceType type, std::function<void(Json&)> transform,
                               bool optional = false) {
  return {.type = std::move(type),
          .filter = {},
          .transform = std::move(transform),
          .optional = optional};
}

}  // namespace

std::vector<kube::InformedResource> InformedResources() {
  std::vector<kube::InformedResource> watched{
      Watched(resources::kNamespace, KeepLabels),
      Watched(resources::kPersistentVolumeClaim, KeepLabels),
      Watched(resources::kPersistentVolume, KeepVolumeAttributes),
      Watched(resources::kDaemonSet, KeepFuseTemplate),
      Watched(resources::kPodTemplate, KeepSidecarTemplate),
      Watched(resources::kDataset, KeepBinding, true),
  };
  constexpr std::array<std::pair<const char*, const char*>, 8> kRuntimes{{
      {"AlluxioRuntime", "alluxioruntimes"},
      {"JindoRuntime", "jindoruntimes"},
      {"JuiceFSRuntime", "juicefsruntimes"},
      {"ThinRuntime", "thinruntimes"},
      {"EFCRuntime", "efcruntimes"},
      {"VineyardRuntime", "vineyardruntimes"},
      {"CacheRuntime", "cacheruntimes"},
      {"SluiceRuntime", "sluiceruntimes"},
  }};
  for (const auto& [kind, plural] : kRuntimes) {
    watched.push_back(
        Watched({"data.fluid.io", "v1alpha1", plural, kind, true}, KeepPlacement, true));
  }
  return watched;
}

void KeepWhatAdmissionReads(Json& object) {
  static const std::vector<kube::InformedResource> kWatched = InformedResources();
  for (const auto& watched : kWatched) {
    if (watched.type.kind == StringOf(object, "kind") &&
        watched.type.ApiVersion() == StringOf(object, "apiVersion")) {
      watched.transform(object);
      return;
    }
  }
}

Result<std::shared_ptr<const Json>> UnpackedObjects::Find(const ResourceType& type,
                                                          const ObjectKey& key) const {
  auto object = kept_.Find(type, key);
  if (!object) return object;
  const auto packed = (*object)->find(kPacked);
  if (packed == (*object)->end()) return object;
  return std::make_shared<const Json>(Json::from_cbor(packed->get_binary()));
}

}  // namespace sluice::webhook
