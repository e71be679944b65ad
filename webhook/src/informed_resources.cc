#include "informed_resources.h"

#include <array>
#include <initializer_list>
#include <utility>

#include "sluice/core/json_access.h"

namespace sluice::webhook {
namespace {

// Keeps only these members of an object.
Json Only(const Json& object, std::initializer_list<const char*> keys) {
  Json kept = Json::object();
  for (const char* key : keys) {
    if (const auto member = object.find(key); member != object.end()) kept[key] = *member;
  }
  return kept;
}

// What every object keeps: its type, and the metadata that finds and versions it.
Json Stem(const Json& object, bool labels) {
  Json kept = Only(object, {"apiVersion", "kind"});
  const Json& metadata = ChildOf(object, "metadata");
  kept["metadata"] = labels
                         ? Only(metadata, {"name", "namespace", "uid", "resourceVersion", "labels"})
                         : Only(metadata, {"name", "namespace", "uid", "resourceVersion"});
  return kept;
}

void KeepLabels(Json& object) { object = Stem(object, true); }

void KeepVolumeAttributes(Json& volume) {
  Json kept = Stem(volume, false);
  const Json& csi = ChildOf(ChildOf(volume, "spec"), "csi");
  if (!ChildOf(csi, "volumeAttributes").contains("fluid_path")) {
    volume = std::move(kept);
    return;
  }
  kept["spec"]["csi"] = Only(csi, {"driver", "volumeAttributes"});
  volume = std::move(kept);
}

Json PodSpec(const Json& spec) { return Only(spec, {"containers", "volumes"}); }

// DaemonSets that are no FUSE clients keep only their name.
void KeepFuseTemplate(Json& daemon_set) {
  Json kept = Stem(daemon_set, false);
  const std::string name = StringAt(daemon_set, "/metadata/name");
  if (name.ends_with("-fuse") || name.ends_with("-client")) {
    kept["spec"]["template"]["spec"] =
        PodSpec(ChildOf(ChildOf(ChildOf(daemon_set, "spec"), "template"), "spec"));
  }
  daemon_set = std::move(kept);
}

void KeepSidecarTemplate(Json& pod_template) {
  Json kept = Stem(pod_template, false);
  if (StringAt(pod_template, "/metadata/name").ends_with("-fuse-sidecar")) {
    kept["template"]["spec"] = PodSpec(ChildOf(ChildOf(pod_template, "template"), "spec"));
  }
  pod_template = std::move(kept);
}

void KeepBinding(Json& dataset) {
  Json kept = Stem(dataset, false);
  const Json& status = ChildOf(dataset, "status");
  for (const Json& mount : ItemsOf(ChildOf(dataset, "spec"), "mounts")) {
    ListIn(ObjectIn(kept, "spec"), "mounts").push_back(Only(mount, {"mountPoint"}));
  }
  kept["status"] = Only(status, {"phase", "runtimes", "conditions"});
  dataset = std::move(kept);
}

void KeepPlacement(Json& runtime) {
  Json kept = Stem(runtime, false);
  const Json& spec = ChildOf(runtime, "spec");
  kept["spec"] = Json::object({{"fuse", Only(ChildOf(spec, "fuse"), {"nodeSelector", "metrics"})},
                               {"client", Only(ChildOf(spec, "client"), {"nodeSelector"})}});
  kept["status"] = Only(ChildOf(runtime, "status"), {"cacheAffinity"});
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

}  // namespace sluice::webhook
