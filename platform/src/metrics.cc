#include "sluice/platform/metrics.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::platform {
namespace {

std::string Escape(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Braces(const Labels& labels, const std::string& extra = "") {
  std::string inner;
  for (const auto& [key, value] : labels) {
    inner += fmt::format("{}{}=\"{}\"", inner.empty() ? "" : ",", key, Escape(value));
  }
  if (!extra.empty()) inner += (inner.empty() ? "" : ",") + extra;
  return inner.empty() ? "" : "{" + inner + "}";
}

}  // namespace

std::vector<double> LatencyBuckets() {
  return {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
          0.1,    0.25,   0.5,   1,      2.5,   5,    10,    30};
}

Histogram::Histogram(std::vector<double> upper_bounds)
    : bounds_(std::move(upper_bounds)), buckets_(bounds_.size() + 1) {}

void Histogram::Observe(double v) {
  const auto index = static_cast<std::size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), v) -
                                              bounds_.begin());
  buckets_[index].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(v, std::memory_order_relaxed);
}

Counter& Metrics::AddCounter(const std::string& name, const std::string& help,
                             const Labels& labels) {
  return families_.With([&](auto& families) -> Counter& {
    Family& family = families[name];
    family.help = help;
    family.type = "counter";
    return family.counters[labels];
  });
}

Gauge& Metrics::AddGauge(const std::string& name, const std::string& help, const Labels& labels) {
  return families_.With([&](auto& families) -> Gauge& {
    Family& family = families[name];
    family.help = help;
    family.type = "gauge";
    return family.gauges[labels];
  });
}

void Metrics::RemoveGauge(const std::string& name, const Labels& labels) {
  families_.With([&](auto& families) {
    if (const auto family = families.find(name); family != families.end()) {
      family->second.gauges.erase(labels);
    }
  });
}

Histogram& Metrics::AddHistogram(const std::string& name, const std::string& help,
                                 std::vector<double> upper_bounds, const Labels& labels) {
  return families_.With([&](auto& families) -> Histogram& {
    Family& family = families[name];
    family.help = help;
    family.type = "histogram";
    return family.histograms.try_emplace(labels, std::move(upper_bounds)).first->second;
  });
}

std::string Metrics::Render() const {
  std::string out;
  families_.With([&](const auto& families) {
    for (const auto& [name, family] : families) {
      out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, family.help, name, family.type);
      for (const auto& [labels, counter] : family.counters) {
        out += fmt::format("{}{} {}\n", name, Braces(labels), counter.Value());
      }
      for (const auto& [labels, gauge] : family.gauges) {
        out += fmt::format("{}{} {}\n", name, Braces(labels), gauge.Value());
      }
      for (const auto& [labels, histogram] : family.histograms) {
        std::uint64_t cumulative = 0;
        for (std::size_t i = 0; i < histogram.buckets_.size(); ++i) {
          cumulative += histogram.buckets_[i].load(std::memory_order_relaxed);
          const std::string bound = i < histogram.bounds_.size()
                                        ? fmt::format("{}", histogram.bounds_[i])
                                        : std::string("+Inf");
          out += fmt::format("{}_bucket{} {}\n", name,
                             Braces(labels, fmt::format("le=\"{}\"", bound)), cumulative);
        }
        out += fmt::format("{}_sum{} {}\n", name, Braces(labels), histogram.sum_.load());
        out += fmt::format("{}_count{} {}\n", name, Braces(labels), cumulative);
      }
    }
  });
  return out;
}

}  // namespace sluice::platform
