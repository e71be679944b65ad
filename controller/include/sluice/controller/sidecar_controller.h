// Ends ordinary FUSE sidecars cluster-wide: an informer of injected pods feeds a queue, workers
// reconcile. The Deployment fluidapp-controller; clusters with native sidecars need none.
#pragma once

#include <memory>
#include <string>

#include "sluice/controller/led_work.h"
#include "sluice/controller/work_queue.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"
#include "sluice/ports/pod_exec.h"

namespace sluice::controller {

struct SidecarControllerOptions {
  std::string opt_out_label;  // a pod label; empty: none
  // A sidecar that ends takes kubelet a second to report; asking at once again would only fail.
  QueueOptions queue = {.retry_base = std::chrono::milliseconds(1000)};
  unsigned workers = 3;
};

class SidecarController final : public LedWork {
 public:
  // What is passed by reference must outlive the controller.
  SidecarController(Cluster& cluster, PodExec& exec, SidecarControllerOptions options,
                    const Clock& clock, platform::Log log, platform::Metrics& metrics);
  ~SidecarController() override;

  void Start() override;
  [[nodiscard]] std::string NotReadyReason() const override;
  void Run(const std::stop_token& stop) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::controller
