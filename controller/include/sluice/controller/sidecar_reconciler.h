// Ends the FUSE sidecars of one pod when its application is done: looks, decides
// (core/sidecar_end.h), executes.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "sluice/core/dataset_decision.h"
#include "sluice/core/sidecar_end.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"
#include "sluice/ports/object_source.h"
#include "sluice/ports/pod_exec.h"

namespace sluice::controller {

// So long a sidecar has to end after it was told to; then it is told again.
inline constexpr std::chrono::seconds kSidecarPatience{15};

struct SidecarReconcilerDependencies {
  Cluster& cluster;
  PodExec& exec;
  const ObjectSource& known;  // a snapshot, perhaps without what deciding does not need
  const Clock& clock;
  std::function<void(const PlannedEvent&)> emit;
  platform::Log log;
  platform::Metrics& metrics;
};

// Threads: any, but one key by one thread at a time.
class SidecarReconciler {
 public:
  SidecarReconciler(std::string opt_out_label, SidecarReconcilerDependencies dependencies);

  // One round for this pod. When to come back (nothing: on the next change), or an error that a
  // repetition may cure: of several sidecars that of the first, all have been tried.
  Result<std::optional<std::chrono::seconds>> Reconcile(const ObjectKey& key);

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  // Which sidecars of a pod were told to end, and when.
  struct Told {
    std::string uid;
    std::map<std::string, TimePoint> containers;
  };

  Result<std::optional<std::chrono::seconds>> EndSidecars(const ObjectKey& key, const Json& pod,
                                                          const SidecarEnd& end);
  Status EndOne(const ObjectKey& key, const Json& pod, const SidecarCommand& sidecar);
  bool WasToldLately(const ObjectKey& key, const Json& pod, const std::string& container) const;
  void RememberTold(const ObjectKey& key, const Json& pod, const std::string& container);
  void Forget(const ObjectKey& key);
  void Report(const Json& pod, bool failed, const std::string& message);

  const std::string opt_out_label_;
  SidecarReconcilerDependencies with_;
  platform::Guarded<std::map<ObjectKey, Told>> told_;  // of pods that run
};

}  // namespace sluice::controller
