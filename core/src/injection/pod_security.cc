#include "pod_security.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/json_access.h"

#include "keys.h"

namespace sluice::injection {
namespace {

bool MountsItself(const Json& container) {
  const Json& context = ChildOf(container, "securityContext");
  const Json& added = ItemsOf(ChildOf(context, "capabilities"), "add");
  return FlagOf(context, "privileged") ||
         std::any_of(added.begin(), added.end(), [](const Json& capability) {
           return capability == "SYS_ADMIN" || capability == "CAP_SYS_ADMIN";
         });
}

// Whether the member is a number other than 0.
bool IsOtherUser(const Json& context, const char* key) {
  const auto user = context.find(key);
  return user != context.end() && user->is_number_integer() && *user != 0;
}

// A platform that mounts for the container has taken its privileges, not its user.
void WarnOfRoot(const Json& pod_context, const std::string& name, const Json& container,
                std::vector<std::string>& warnings) {
  const Json& own = ChildOf(container, "securityContext");
  if (!FlagOf(pod_context, "runAsNonRoot") || own.contains("runAsNonRoot")) return;
  const Json& says_user = own.contains("runAsUser") ? own : pod_context;
  if (says_user.value("runAsUser", Json()) != 0) return;
  warnings.push_back(fmt::format(
      "spec.securityContext.runAsNonRoot: true keeps the kubelet from starting the injected "
      "container {}, which runs as root (runAsUser 0); ask for it in the securityContext of the "
      "application's containers, or use the node plugin (pod label {}=true)",
      name, keys::kServerfulInject));
}

}  // namespace

void ShieldFromPodSecurity(const Json& pod, const std::string& name, Json& container,
                           std::vector<std::string>& warnings) {
  const Json& pod_context = ChildOf(ChildOf(pod, "spec"), "securityContext");
  if (!MountsItself(container)) {
    WarnOfRoot(pod_context, name, container, warnings);
    return;
  }
  Json& own = ObjectIn(container, "securityContext");
  std::vector<std::string> overruled;
  if (!own.contains("runAsUser") && IsOtherUser(pod_context, "runAsUser")) {
    own["runAsUser"] = 0;
    overruled.emplace_back("runAsUser");
  }
  if (FlagOf(pod_context, "runAsNonRoot") && !own.contains("runAsNonRoot") &&
      !IsOtherUser(own, "runAsUser")) {
    own["runAsNonRoot"] = false;
    overruled.emplace_back("runAsNonRoot");
  }
  if (!overruled.empty()) {
    warnings.push_back(fmt::format(
        "spec.securityContext.{}: does not hold for the injected container {}, which mounts the "
        "dataset as root; to have no such container, use the node plugin (pod label {}=true)",
        fmt::join(overruled, " and "), name, keys::kServerfulInject));
  }
  const Json& spec = ChildOf(pod, "spec");
  if (const auto own_users = spec.find("hostUsers");
      own_users != spec.end() && *own_users == false) {
    warnings.push_back(fmt::format(
        "spec.hostUsers: false keeps the injected container {} from mounting for the pod; leave it "
        "out, or use the node plugin (pod label {}=true)",
        name, keys::kServerfulInject));
  }
}

void WarnOfPodSecurity(const Json& pod, const std::string& ns, const std::string& enforced,
                       std::vector<std::string>& warnings) {
  if (enforced != "baseline" && enforced != "restricted") return;
  const Json& spec = ChildOf(pod, "spec");
  std::vector<std::string> refused;
  for (const char* list : {"initContainers", "containers"}) {
    for (const Json& container : ItemsOf(spec, list)) {
      if (!MountsItself(container)) continue;
      refused.push_back(
          fmt::format("spec.{}[{}].securityContext", list, StringOf(container, "name")));
    }
  }
  for (const Json& volume : ItemsOf(spec, "volumes")) {
    if (!ChildOf(volume, "hostPath").empty()) {
      refused.push_back(fmt::format("spec.volumes[{}].hostPath", StringOf(volume, "name")));
    }
  }
  if (refused.empty()) return;
  warnings.push_back(fmt::format(
      "namespace {} enforces Pod Security level {} (its label {}), which refuses {} of the "
      "injected "
      "sidecar: label the namespace privileged; the clients of its datasets on ordinary nodes need "
      "that too",
      ns, enforced, keys::kPodSecurityEnforce, fmt::join(refused, ", ")));
}

}  // namespace sluice::injection
