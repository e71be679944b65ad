// Datasets and native runtimes: informers feed a queue, workers reconcile. The Deployment
// dataset-controller.
#pragma once

#include <memory>
#include <string>

#include "sluice/controller/led_work.h"
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

class Controller final : public LedWork {
 public:
  // What is passed by reference must outlive the controller.
  Controller(Cluster& cluster, ControllerOptions options, const Clock& clock, platform::Log log,
             platform::Metrics& metrics);
  ~Controller() override;

  void Start() override;
  [[nodiscard]] std::string NotReadyReason() const override;
  void Run(const std::stop_token& stop) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::controller
