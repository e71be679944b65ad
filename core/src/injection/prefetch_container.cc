#include "prefetch_container.h"

#include <algorithm>
#include <utility>

#include "sluice/core/json_access.h"
#include "sluice/core/path_pattern.h"

#include "pod_edit.h"

namespace sluice::injection {
namespace {

constexpr const char* kProgram = "/usr/bin/sluice-prefetch";
// "nobody", where the pod only says that root must not be.
constexpr int kNobody = 65534;

// The first container that mounts a dataset.
const Json& ReaderOf(const Json& pod, const DatasetUses& uses) {
  static const Json none = Json::object();
  const auto volumes = VolumesOfClaims(pod, uses);
  for (const char* list : {"containers", "initContainers"}) {
    for (const Json& container : ItemsOf(ChildOf(pod, "spec"), list)) {
      if (container.is_object() && MountsAny(container, volumes)) return container;
    }
  }
  return none;
}

// What the application may read, we may; what the pod says of all its containers counts for us by
// itself.
Json SecurityContext(const Json& pod, const DatasetUses& uses) {
  Json context = Json::object({{"allowPrivilegeEscalation", false},
                               {"capabilities", Json::object({{"drop", Json::array({"ALL"})}})},
                               {"readOnlyRootFilesystem", true},
                               {"seccompProfile", Json::object({{"type", "RuntimeDefault"}})}});
  const Json& reader = ChildOf(ReaderOf(pod, uses), "securityContext");
  for (const char* field : {"runAsUser", "runAsGroup", "runAsNonRoot", "seLinuxOptions"}) {
    if (reader.contains(field) && !reader[field].is_null()) context[field] = reader[field];
  }
  const Json& all = ChildOf(ChildOf(pod, "spec"), "securityContext");
  const bool not_root = context.contains("runAsNonRoot") ? FlagOf(context, "runAsNonRoot")
                                                         : FlagOf(all, "runAsNonRoot");
  // Our image's user is root, the application's need not be.
  if (not_root && !context.contains("runAsUser") && !all.contains("runAsUser")) {
    context["runAsUser"] = kNobody;
  }
  return context;
}

// Whether the kubelet starts a container again that has ended by itself.
bool IsRestarted(const Json& pod, Restarts restarts) {
  const std::string policy = StringOf(ChildOf(pod, "spec"), "restartPolicy");
  return restarts == Restarts::kByKubelet || policy.empty() || policy == "Always";
}

}  // namespace

std::vector<std::string> VolumesInOrder(const Json& pod, const std::string& claim) {
  std::vector<std::string> volumes;
  for (const Json& volume : ItemsOf(ChildOf(pod, "spec"), "volumes")) {
    const Json& source = ChildOf(volume, "persistentVolumeClaim");
    if (!source.empty() && StringOf(source, "claimName") == claim) {
      volumes.push_back(StringOf(volume, "name"));
    }
  }
  return volumes;
}

std::string CleanAbsolute(const std::string& path) {
  std::string clean;
  for (const std::string& part : CleanComponents(path)) clean += "/" + part;
  return clean;
}

Json EnvironmentValue(const std::string& name, const std::string& value) {
  return Json::object({{"name", name}, {"value", value}});
}

void RunPrefetchProgram(const Json& pod, const DatasetUses& uses, const std::string& image,
                        Restarts restarts, Json& container) {
  container["image"] = image;
  // A failure is told by an exit status only where that ends neither the pod nor a Job.
  container["command"] =
      Json::array({kProgram, IsRestarted(pod, restarts) ? "--when-done=tell" : "--when-done=exit"});
  container["securityContext"] = SecurityContext(pod, uses);
}

void PlaceBehindSidecars(Json container, const char* list, Json& pod) {
  auto& containers = ListIn(pod["spec"], list).get_ref<Json::array_t&>();
  const auto last = std::find_if(containers.rbegin(), containers.rend(), [](const Json& other) {
    return StringOf(other, "name").starts_with("fluid-fuse");
  });
  containers.insert(last.base(), std::move(container));
}

Json PrefetchWaitHook() {
  return Json::object({{"exec", Json::object({{"command", Json::array({kProgram, "--wait"})}})}});
}

bool RunsPrefetchProgram(const Json& container) {
  const Json& command = ItemsOf(container, "command");
  return !command.empty() && command[0] == kProgram;
}

}  // namespace sluice::injection
