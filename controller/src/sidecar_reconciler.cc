#include "sluice/controller/sidecar_reconciler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sluice::controller {
namespace {

using Next = std::optional<std::chrono::seconds>;

// 128 + SIGKILL: the container ended while the command ran in it, which is what was wanted.
constexpr int kKilled = 137;
constexpr std::string_view kNotMounted = "not mounted";
constexpr std::size_t kMaxQuoted = 300;

bool HasWorked(const ExecOutcome& outcome) {
  return outcome.exit_code == 0 || outcome.exit_code == kKilled ||
         outcome.errors.find(kNotMounted) != std::string::npos;
}

}  // namespace

SidecarReconciler::SidecarReconciler(std::string opt_out_label,
                                     SidecarReconcilerDependencies dependencies)
    : opt_out_label_(std::move(opt_out_label)), with_(std::move(dependencies)) {}

Result<Next> SidecarReconciler::Reconcile(const ObjectKey& key) {
  auto known = with_.known.Find(resources::kPod, key);
  if (!known) {
    if (known.error().code != Code::kNotFound) return Fail(known.error());
    Forget(key);
    return Next();
  }
  const SidecarEnd::Action action = DecideSidecarEnd(**known, opt_out_label_).action;
  if (action == SidecarEnd::Action::kLeave) Forget(key);
  if (action != SidecarEnd::Action::kEnd) return Next();
  // The snapshot may be behind, and nothing is executed in a pod that only was so.
  auto pod = with_.cluster.Get(resources::kPod, key);
  if (!pod) {
    if (pod.error().code == Code::kNotFound) return Next();
    return Fail(pod.error());
  }
  const SidecarEnd end = DecideSidecarEnd(*pod, opt_out_label_);
  if (end.action != SidecarEnd::Action::kEnd) return Next();
  return EndSidecars(key, *pod, end);
}

Result<Next> SidecarReconciler::EndSidecars(const ObjectKey& key, const Json& pod,
                                            const SidecarEnd& end) {
  for (const std::string& container : end.no_command) {
    // The pod's specification does not change: trying again would not help.
    Report(pod, /*failed=*/true,
           fmt::format("the application is done, but container {} tells no way to end it: give it "
                       "lifecycle.preStop.exec or the variable FLUID_FUSE_MOUNTPOINT",
                       container));
  }
  Status first_failure = Ok();
  Next next;
  for (const SidecarCommand& sidecar : end.commands) {
    next = kSidecarPatience;
    if (WasToldLately(key, pod, sidecar.container)) continue;
    Status ended = EndOne(key, pod, sidecar);
    if (!ended && first_failure) first_failure = std::move(ended);
  }
  if (!first_failure) return Fail(first_failure.error());
  return next;
}

Status SidecarReconciler::EndOne(const ObjectKey& key, const Json& pod,
                                 const SidecarCommand& sidecar) {
  const std::string command = fmt::format("{}", fmt::join(sidecar.command, " "));
  auto outcome =
      with_.exec.Run({.pod = key, .container = sidecar.container, .command = sidecar.command});
  const bool worked = outcome && HasWorked(*outcome);
  with_.metrics
      .AddCounter("sluice_sidecar_ends_total", "Commands to end a FUSE sidecar by result",
                  {{"result", worked ? "ended" : "failed"}})
      .Add();
  if (worked) {
    RememberTold(key, pod, sidecar.container);
    Report(pod, /*failed=*/false,
           fmt::format("the application is done: ended container {} by \"{}\"", sidecar.container,
                       command));
    return Ok();
  }
  Error error = outcome
                    ? Error{Code::kUnavailable, fmt::format("exit code {}: {}", outcome->exit_code,
                                                            outcome->errors.substr(0, kMaxQuoted))}
                    : outcome.error();
  Report(pod, /*failed=*/true,
         fmt::format("the application is done, but \"{}\" in container {} failed: {}", command,
                     sidecar.container, error.message));
  return Fail(error.Wrap(fmt::format("end container {}", sidecar.container)));
}

bool SidecarReconciler::WasToldLately(const ObjectKey& key, const Json& pod,
                                      const std::string& container) const {
  return told_.With([&](const auto& told) {
    const auto entry = told.find(key);
    if (entry == told.end() || entry->second.uid != StringAt(pod, "/metadata/uid")) return false;
    const auto when = entry->second.containers.find(container);
    return when != entry->second.containers.end() &&
           with_.clock.Now() - when->second < kSidecarPatience;
  });
}

void SidecarReconciler::RememberTold(const ObjectKey& key, const Json& pod,
                                     const std::string& container) {
  told_.With([&](auto& told) {
    Told& entry = told[key];
    if (const std::string uid = StringAt(pod, "/metadata/uid"); entry.uid != uid) {
      entry = {.uid = uid, .containers = {}};
    }
    entry.containers[container] = with_.clock.Now();
  });
}

void SidecarReconciler::Forget(const ObjectKey& key) {
  told_.With([&](auto& told) { told.erase(key); });
}

void SidecarReconciler::Report(const Json& pod, bool failed, const std::string& message) {
  const ObjectKey key = KeyOf(pod);
  // A failure that will be tried again is logged where it is returned to.
  if (!failed) {
    with_.log.Info("sidecar ended",
                   {{"namespace", key.ns}, {"name", key.name}, {"detail", message}});
  }
  with_.emit({.about = pod,
              .warning = failed,
              .reason = failed ? "FuseSidecarEndFailed" : "FuseSidecarEnded",
              .message = message});
}

}  // namespace sluice::controller
