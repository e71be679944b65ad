// Counters, gauges and histograms in the Prometheus text format (OpenMetrics names: `_total` for
// counters, base units: seconds, bytes). No client library is packaged for Debian 12.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sluice/platform/guarded.h"

namespace sluice::platform {

using Labels = std::map<std::string, std::string>;

class Counter {
 public:
  void Add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(double v) { value_.store(v, std::memory_order_relaxed); }
  void Add(double v) { value_.fetch_add(v, std::memory_order_relaxed); }
  [[nodiscard]] double Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> upper_bounds);
  void Observe(double v);

 private:
  friend class Metrics;
  std::vector<double> bounds_;
  std::deque<std::atomic<std::uint64_t>> buckets_;  // one per bound, and one for +Inf
  std::atomic<double> sum_{0};
};

// Owns the series. References returned stay valid as long as the registry; asking again for the
// same name and labels returns the same series. Threads: any.
class Metrics {
 public:
  Counter& AddCounter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& AddGauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& AddHistogram(const std::string& name, const std::string& help,
                          std::vector<double> upper_bounds, const Labels& labels = {});
  // Ends a series whose subject is gone; nobody may use its reference any more.
  void RemoveGauge(const std::string& name, const Labels& labels);
  // The exposition text.
  [[nodiscard]] std::string Render() const;

 private:
  struct Family {
    std::string help;
    std::string type;
    std::map<Labels, Counter> counters;
    std::map<Labels, Gauge> gauges;
    std::map<Labels, Histogram> histograms;
  };
  Guarded<std::map<std::string, Family>> families_;
};

// Buckets from 100 µs to 30 s.
std::vector<double> LatencyBuckets();

}  // namespace sluice::platform
