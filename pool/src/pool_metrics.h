// What the pool's client counts.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "sluice/platform/metrics.h"

#include "operation.h"

namespace sluice::pool {

// Threads: any.
class PoolMetrics {
 public:
  explicit PoolMetrics(platform::Metrics& metrics)
      : metrics_(metrics),
        received_(metrics.AddCounter("sluice_pool_received_bytes_total",
                                     "Bytes of values that the pool's workers gave.")),
        sent_(metrics.AddCounter("sluice_pool_sent_bytes_total",
                                 "Bytes of values that were given to the pool's workers.")),
        workers_(metrics.AddGauge("sluice_pool_workers", "Workers in the list.")) {}

  void CountOperation(const Operation& operation, const Ending& ending, TimePoint now) {
    const std::string name = NameOf(operation.kind);
    metrics_
        .AddCounter("sluice_pool_operations_total", "Operations on the pool.",
                    {{"operation", name}, {"result", std::string(ending.word)}})
        .Add();
    const std::chrono::duration<double> took = now - operation.started;
    metrics_
        .AddHistogram("sluice_pool_operation_seconds", "Time per operation on the pool.",
                      platform::LatencyBuckets(), {{"operation", name}})
        .Observe(took.count());
    if (ending.word == "hit") received_.Add(operation.into.size());
    if (ending.word.starts_with("stored")) sent_.Add(operation.value.size());
  }
  void CountConnect(const char* result) {
    metrics_
        .AddCounter("sluice_pool_connects_total", "Connections to workers, by how they began.",
                    {{"result", result}})
        .Add();
  }
  void CountOpening(const std::string& worker) {
    metrics_
        .AddCounter("sluice_pool_breaker_opens_total",
                    "Times that a worker was left out after failures.", {{"worker", worker}})
        .Add();
  }
  void SetUp(const std::string& worker, bool up) {
    metrics_
        .AddGauge("sluice_pool_worker_up", "1 while the worker is connected and not left out.",
                  {{"worker", worker}})
        .Set(up ? 1 : 0);
  }
  // Of a worker that is gone from the list.
  void Forget(const std::string& worker) {
    metrics_.RemoveGauge("sluice_pool_worker_up", {{"worker", worker}});
  }
  void SetWorkers(std::size_t count) { workers_.Set(static_cast<double>(count)); }

 private:
  static std::string NameOf(Operation::Kind kind) {
    switch (kind) {
      case Operation::Kind::kGet:
        return "get";
      case Operation::Kind::kRenew:
        return "renew";
      case Operation::Kind::kPut:
        return "put";
      case Operation::Kind::kDrop:
        return "drop";
    }
    return "";
  }

  platform::Metrics& metrics_;
  platform::Counter& received_;
  platform::Counter& sent_;
  platform::Gauge& workers_;
};

}  // namespace sluice::pool
