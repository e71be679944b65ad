// sluice-controller without its main: informers feed a queue, workers reconcile.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "sluice/controller/work_queue.h"
#include "sluice/core/dataset_decision.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"

namespace sluice::controller {

struct ControllerOptions {
  PlanSettings plan;
  DecisionTiming timing = {};
  QueueOptions queue = {};
  unsigned workers = 3;
};

class Controller {
 public:
  // What is passed by reference must outlive the controller.
  Controller(Cluster& cluster, ControllerOptions options, const Clock& clock, platform::Log log,
             platform::Metrics& metrics);
  ~Controller();

  // Begins to watch; nothing is changed in the cluster yet.
  void Start();
  // Empty once every resource has been listed; else what is missing.
  [[nodiscard]] std::string NotReadyReason() const;
  // Reconciles until stopped. To be called by the leader.
  void Run(const std::stop_token& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::controller
