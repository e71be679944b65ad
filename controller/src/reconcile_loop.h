// Workers that reconcile the keys of a queue; what fails comes again with back-off.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>

#include "sluice/controller/work_queue.h"
#include "sluice/core/result.h"
#include "sluice/kube/informer.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"

namespace sluice::controller {

class ReconcileLoop {
 public:
  // One round for a key: when to come back (nothing: on the next change), or an error that a
  // repetition may cure. Called for one key by one thread at a time.
  using Round = std::function<Result<std::optional<std::chrono::seconds>>(const ObjectKey&)>;

  ReconcileLoop(const Clock& clock, QueueOptions queue, Round round, platform::Log log,
                platform::Metrics& metrics);

  // Threads: any.
  void Add(const ObjectKey& key) { queue_.Add(key); }
  // Waits until the informers have listed, then works until stopped.
  void Run(unsigned workers, const kube::InformerSet& informers, const std::stop_token& stop);

 private:
  void Work(const std::stop_token& stop);
  void Handle(const ObjectKey& key);

  WorkQueue queue_;
  const Round round_;
  platform::Log log_;
  platform::Metrics& metrics_;
};

}  // namespace sluice::controller
