#include "sluice/core/sidecar_end.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "sluice/core/json_access.h"

#include "injection/keys.h"

namespace sluice {
namespace {

namespace keys = injection::keys;

constexpr std::string_view kSidecarMark = "fluid-fuse";
// They stay for as long as the pod does, and nothing waits for them.
constexpr std::array<std::string_view, 2> kPrefetchers{"fluid-file-prefetcher", "sluice-prefetch"};
constexpr const char* kMountPointVariable = "FLUID_FUSE_MOUNTPOINT";
constexpr std::string_view kMountVolume = "-fuse-mount";
constexpr std::string_view kOwnClient = "/sluice-fuse";
constexpr std::string_view kOwnClientSocket = "--metrics=unix:";

bool IsSidecar(const std::string& name) { return name.find(kSidecarMark) != std::string::npos; }

bool IsPrefetcher(const std::string& name) {
  return std::find(kPrefetchers.begin(), kPrefetchers.end(), name) != kPrefetchers.end();
}

enum class Phase { kUnknown, kRunning, kEnded };

struct ContainerState {
  Phase phase = Phase::kUnknown;  // also: waits, has not been seen yet
  std::int64_t exit_code = 0;
};

ContainerState StateOf(const Json& pod, const std::string& container) {
  for (const Json& status : ItemsOf(ChildOf(pod, "status"), "containerStatuses")) {
    if (StringOf(status, "name") != container) continue;
    const Json& state = ChildOf(status, "state");
    if (const auto running = state.find("running");
        running != state.end() && running->is_object()) {
      return {.phase = Phase::kRunning};
    }
    const Json& ended = ChildOf(state, "terminated");
    const auto code = ended.find("exitCode");
    // Without its code nobody can say whether it will be started again.
    if (code == ended.end() || !code->is_number_integer()) return {};
    return {.phase = Phase::kEnded, .exit_code = code->get<std::int64_t>()};
  }
  return {};
}

bool HasValue(const Json& values, std::int64_t wanted) {
  return std::any_of(values.begin(), values.end(), [&](const Json& value) {
    return value.is_number_integer() && value.get<std::int64_t>() == wanted;
  });
}

// The first rule of the container that speaks of the code (Kubernetes 1.34); nothing: no rule does.
std::optional<bool> RestartedByRule(const Json& container, std::int64_t exit_code) {
  for (const Json& rule : ItemsOf(container, "restartPolicyRules")) {
    const Json& codes = ChildOf(rule, "exitCodes");
    const bool listed = HasValue(ItemsOf(codes, "values"), exit_code);
    if (listed == (StringOf(codes, "operator") == "In")) {
      return StringOf(rule, "action").starts_with("Restart");
    }
  }
  return std::nullopt;
}

// Whether the container has ended and kubelet will not start it again.
bool IsDone(const Json& pod, const Json& container) {
  const ContainerState state = StateOf(pod, StringOf(container, "name"));
  if (state.phase != Phase::kEnded) return false;
  if (const auto restarted = RestartedByRule(container, state.exit_code)) return !*restarted;
  std::string policy = StringOf(container, "restartPolicy");
  if (policy.empty()) policy = StringOf(ChildOf(pod, "spec"), "restartPolicy");
  return policy == "Never" || (policy == "OnFailure" && state.exit_code == 0);
}

// Why the pod is none of ours; empty when it is.
std::string WhyLeft(const Json& pod, const std::string& opt_out_label) {
  const Json& labels = ChildOf(ChildOf(pod, "metadata"), "labels");
  const Json& spec = ChildOf(pod, "spec");
  if (StringOf(labels, keys::kInjectDone) != keys::kTrue) return "not_injected";
  if (!opt_out_label.empty() && labels.contains(opt_out_label)) return "opted_out";
  const std::string policy = StringOf(spec, "restartPolicy");
  // Absent means Always.
  if (policy != "Never" && policy != "OnFailure") return "restarted_always";
  const Json& containers = ItemsOf(spec, "containers");
  const bool has_sidecar = std::any_of(containers.begin(), containers.end(), [](const Json& one) {
    return IsSidecar(StringOf(one, "name"));
  });
  if (!has_sidecar) return "no_ordinary_sidecar";
  if (ChildOf(pod, "metadata").contains("deletionTimestamp")) return "being_deleted";
  const std::string phase = StringOf(ChildOf(pod, "status"), "phase");
  return phase == "Succeeded" || phase == "Failed" ? "pod_ended" : "";
}

// The value of the variable when it is written out in the pod.
std::string VariableOf(const Json& container, std::string_view name) {
  for (const Json& variable : ItemsOf(container, "env")) {
    if (StringOf(variable, "name") == name) return StringOf(variable, "value");
  }
  return "";
}

// "/runtime-mnt/thin/ns/d/thin-fuse" for the mount of volume "thin-fuse-mount-0".
std::string MountPointByVolume(const Json& container) {
  for (const Json& mount : ItemsOf(container, "volumeMounts")) {
    const std::string volume = StringOf(mount, "name");
    const auto at = volume.find(kMountVolume);
    if (at == std::string::npos || at == 0) continue;
    // Injection appends a number.
    const std::string_view rest = std::string_view(volume).substr(at + kMountVolume.size());
    if (!rest.empty() && !rest.starts_with('-')) continue;
    std::string path = StringOf(mount, "mountPath");
    while (path.ends_with('/')) path.pop_back();
    if (path.empty()) continue;
    return path + "/" + volume.substr(0, at) + "-fuse";
  }
  return "";
}

std::vector<std::string> StringsOf(const Json& object, std::string_view key) {
  std::vector<std::string> strings;
  for (const Json& item : ItemsOf(object, key)) {
    if (item.is_string()) strings.push_back(item.get<std::string>());
  }
  return strings;
}

// Sluice's image has neither shell nor umount; its client is asked through its socket. No preStop
// hook says so: kubelet would run that while the application still reads.
std::vector<std::string> EndOwnClient(const Json& container) {
  const auto command = StringsOf(container, "command");
  if (command.size() != 1 || !command.front().ends_with(kOwnClient)) return {};
  for (const std::string& argument : StringsOf(container, "args")) {
    if (argument.starts_with(kOwnClientSocket)) return {command.front(), "--end", argument};
  }
  return {};
}

}  // namespace

std::vector<std::string> EndCommandOf(const Json& container) {
  const Json& hook = ChildOf(ChildOf(ChildOf(container, "lifecycle"), "preStop"), "exec");
  if (auto command = StringsOf(hook, "command"); !command.empty()) return command;
  if (auto command = EndOwnClient(container); !command.empty()) return command;
  std::string path = VariableOf(container, kMountPointVariable);
  if (path.empty()) path = MountPointByVolume(container);
  if (path.empty()) return {};
  return {"umount", path};
}

SidecarEnd DecideSidecarEnd(const Json& pod, const std::string& opt_out_label) {
  SidecarEnd end;
  end.reason = WhyLeft(pod, opt_out_label);
  if (!end.reason.empty()) return end;
  end.action = SidecarEnd::Action::kWait;
  end.reason = "not_running";
  if (StringOf(ChildOf(pod, "status"), "phase") != "Running") return end;
  std::size_t applications = 0;
  for (const Json& container : ItemsOf(ChildOf(pod, "spec"), "containers")) {
    const std::string name = StringOf(container, "name");
    if (IsSidecar(name) || IsPrefetcher(name)) continue;
    end.reason = "application_runs";
    if (!IsDone(pod, container)) return end;
    ++applications;
  }
  end.reason = "no_application";
  if (applications == 0) return end;
  for (const Json& container : ItemsOf(ChildOf(pod, "spec"), "containers")) {
    const std::string name = StringOf(container, "name");
    // One that has ended needs nothing more; one that is about to start is seen when it has.
    if (!IsSidecar(name) || StateOf(pod, name).phase != Phase::kRunning) continue;
    if (auto command = EndCommandOf(container); command.empty()) {
      end.no_command.push_back(name);
    } else {
      end.commands.push_back({.container = name, .command = std::move(command)});
    }
  }
  end.reason = "sidecar_not_running";
  if (end.commands.empty() && end.no_command.empty()) return end;
  end.action = SidecarEnd::Action::kEnd;
  end.reason = "application_done";
  return end;
}

}  // namespace sluice
