// Kubernetes objects as JSON documents, and the names by which they are addressed.
#pragma once

#include <compare>
#include <string>

#include <nlohmann/json.hpp>

namespace sluice {

using Json = nlohmann::json;

// One served resource: "apps/v1 daemonsets". An empty group is the core group.
struct ResourceType {
  std::string group;
  std::string version;
  std::string plural;
  std::string kind;
  bool namespaced = true;

  [[nodiscard]] std::string ApiVersion() const {
    return group.empty() ? version : group + "/" + version;
  }
  auto operator<=>(const ResourceType&) const = default;
};

struct ObjectKey {
  std::string ns;  // empty for cluster-scoped objects
  std::string name;

  [[nodiscard]] std::string ToString() const { return ns.empty() ? name : ns + "/" + name; }
  auto operator<=>(const ObjectKey&) const = default;
};

// metadata.namespace/name of an object; empty strings where absent or of the wrong type.
ObjectKey KeyOf(const Json& object);

// The string at a JSON pointer, or `fallback` when it is absent or no string.
std::string StringAt(const Json& object, const std::string& pointer, std::string fallback = "");

// The value at a JSON pointer, or null JSON (a shared static) when absent.
const Json& ValueAt(const Json& object, const std::string& pointer);

namespace resources {
inline const ResourceType kPod{"", "v1", "pods", "Pod", true};
inline const ResourceType kNamespace{"", "v1", "namespaces", "Namespace", false};
inline const ResourceType kNode{"", "v1", "nodes", "Node", false};
inline const ResourceType kSecret{"", "v1", "secrets", "Secret", true};
inline const ResourceType kConfigMap{"", "v1", "configmaps", "ConfigMap", true};
inline const ResourceType kPersistentVolume{"", "v1", "persistentvolumes", "PersistentVolume",
                                            false};
inline const ResourceType kPersistentVolumeClaim{"", "v1", "persistentvolumeclaims",
                                                 "PersistentVolumeClaim", true};
inline const ResourceType kPodTemplate{"", "v1", "podtemplates", "PodTemplate", true};
inline const ResourceType kEvent{"", "v1", "events", "Event", true};
inline const ResourceType kService{"", "v1", "services", "Service", true};
inline const ResourceType kDaemonSet{"apps", "v1", "daemonsets", "DaemonSet", true};
inline const ResourceType kStatefulSet{"apps", "v1", "statefulsets", "StatefulSet", true};
inline const ResourceType kEndpointSlice{"discovery.k8s.io", "v1", "endpointslices",
                                         "EndpointSlice", true};
inline const ResourceType kLease{"coordination.k8s.io", "v1", "leases", "Lease", true};
inline const ResourceType kMutatingWebhookConfiguration{"admissionregistration.k8s.io", "v1",
                                                        "mutatingwebhookconfigurations",
                                                        "MutatingWebhookConfiguration", false};
inline const ResourceType kDataset{"data.fluid.io", "v1alpha1", "datasets", "Dataset", true};
inline const ResourceType kSluiceRuntime{"data.fluid.io", "v1alpha1", "sluiceruntimes",
                                         "SluiceRuntime", true};
}  // namespace resources

}  // namespace sluice
