#include "reconcile_loop.h"

#include <thread>
#include <vector>

namespace sluice::controller {

using std::chrono::steady_clock;

ReconcileLoop::ReconcileLoop(const Clock& clock, QueueOptions queue, Round round, platform::Log log,
                             platform::Metrics& metrics)
    : queue_(clock, queue), round_(std::move(round)), log_(std::move(log)), metrics_(metrics) {}

void ReconcileLoop::Handle(const ObjectKey& key) {
  const auto begun = steady_clock::now();
  auto next = round_(key);
  metrics_
      .AddHistogram("sluice_reconcile_seconds", "Time of one reconciliation",
                    platform::LatencyBuckets())
      .Observe(std::chrono::duration<double>(steady_clock::now() - begun).count());
  metrics_
      .AddCounter("sluice_reconcile_total", "Reconciliations by result",
                  {{"result", next ? "ok" : std::string(CodeName(next.error().code))}})
      .Add();
  metrics_.AddGauge("sluice_queue_depth", "Keys that wait")
      .Set(static_cast<double>(queue_.Depth()));
  if (!next) {
    log_.Warn("reconcile failed",
              {{"namespace", key.ns}, {"name", key.name}, {"error", next.error().message}});
    queue_.Retry(key);
  } else {
    queue_.Forget(key);
    if (*next) queue_.Add(key, **next);
  }
}

void ReconcileLoop::Work(const std::stop_token& stop) {
  while (auto key = queue_.Get(stop)) {
    Handle(*key);
    queue_.Done(*key);
  }
}

void ReconcileLoop::Run(unsigned workers, const kube::InformerSet& informers,
                        const std::stop_token& stop) {
  // Deciding on a snapshot that is not whole would miss objects.
  while (!informers.WaitSynced(steady_clock::now() + std::chrono::seconds(1))) {
    if (stop.stop_requested()) return;
  }
  log_.Info("reconciling", {{"workers", workers}});
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < workers; ++i) {
    threads.emplace_back([this, &stop] { Work(stop); });
  }
}

}  // namespace sluice::controller
