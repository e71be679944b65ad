#include "sluice/core/workload.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "sluice/core/json_access.h"

namespace sluice::workload {
namespace {

struct Kind {
  std::string_view group;
  std::string_view kind;
  std::string_view path;
};
constexpr std::array<Kind, 11> kKinds{{
    {"", "Pod", ""},
    {"", "PodTemplate", "/template"},
    {"", "ReplicationController", "/spec/template"},
    {"apps", "Deployment", "/spec/template"},
    {"apps", "StatefulSet", "/spec/template"},
    {"apps", "DaemonSet", "/spec/template"},
    {"apps", "ReplicaSet", "/spec/template"},
    {"batch", "Job", "/spec/template"},
    {"batch", "CronJob", "/spec/jobTemplate/spec/template"},
    {"serving.knative.dev", "Service", "/spec/template"},
    {"serving.knative.dev", "Configuration", "/spec/template"},
}};

std::string_view GroupOf(std::string_view api_version) {
  const std::size_t slash = api_version.find('/');
  return slash == std::string_view::npos ? "" : api_version.substr(0, slash);
}

}  // namespace

std::optional<std::string> TemplatePath(const Json& object) {
  const std::string api_version = StringOf(object, "apiVersion");
  const std::string kind = StringOf(object, "kind");
  const auto* found = std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& known) {
    return known.kind == kind && known.group == GroupOf(api_version);
  });
  if (found == kKinds.end()) return std::nullopt;
  return std::string(found->path);
}

Json PodOf(const Json& object, const std::string& path, const std::string& ns) {
  if (path.empty()) {
    Json pod = object;
    if (StringOf(ChildOf(pod, "metadata"), "namespace").empty()) {
      ObjectIn(pod, "metadata")["namespace"] = ns;
    }
    return pod;
  }
  const Json& pod_template = ValueAt(object, path);
  Json pod = Json::object({{"apiVersion", "v1"}, {"kind", "Pod"}});
  pod["metadata"] = ChildOf(pod_template, "metadata");
  pod["metadata"]["namespace"] = ns;
  pod["metadata"]["generateName"] = StringOf(ChildOf(object, "metadata"), "name") + "-";
  if (pod_template.is_object() && pod_template.contains("spec")) {
    pod["spec"] = pod_template["spec"];
  }
  return pod;
}

void PutBack(const Json& pod, const std::string& path, Json& object) {
  Json& target = object[Json::json_pointer(path)];
  for (const char* key : {"labels", "annotations"}) {
    const Json& values = ChildOf(ChildOf(pod, "metadata"), key);
    if (!values.empty()) ObjectIn(target, "metadata")[key] = values;
  }
  if (pod.contains("spec")) target["spec"] = pod["spec"];
}

}  // namespace sluice::workload
