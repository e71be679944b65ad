// What every adapter counts.
#pragma once

#include <string>

#include "sluice/platform/metrics.h"

namespace sluice::origin {

class OriginMetrics {
 public:
  explicit OriginMetrics(platform::Metrics& metrics)
      : metrics_(metrics),
        read_bytes_(metrics.AddCounter("sluice_origin_read_bytes_total",
                                       "Bytes of objects received from the origin.")),
        hedges_(metrics.AddCounter("sluice_origin_hedged_requests_total",
                                   "Second requests for reads whose first byte was late.")),
        hedges_won_(metrics.AddCounter("sluice_origin_hedged_requests_won_total",
                                       "Second requests that were answered first.")),
        throttled_(metrics.AddHistogram(
            "sluice_origin_throttled_seconds",
            "Waits of transfers for their share of the origin's limit of bandwidth.",
            platform::LatencyBuckets())) {}

  // `code` is the HTTP status, or a word for what went wrong below HTTP.
  void CountRequest(const std::string& operation, const std::string& code, double seconds) {
    metrics_
        .AddCounter("sluice_origin_requests_total", "Requests to the origin, retries included.",
                    {{"operation", operation}, {"code", code}})
        .Add();
    metrics_
        .AddHistogram("sluice_origin_request_seconds", "Time per request to the origin.",
                      platform::LatencyBuckets(), {{"operation", operation}})
        .Observe(seconds);
  }
  void CountRetry(const std::string& operation) {
    metrics_
        .AddCounter("sluice_origin_retries_total", "Requests that repeated a failed one.",
                    {{"operation", operation}})
        .Add();
  }
  // Objects that a listing leaves out although their names could be files'.
  void CountRefused(const std::string& cause, std::uint64_t objects) {
    metrics_
        .AddCounter("sluice_origin_refused_objects_total",
                    "Objects left out of listings since they cannot be read safely.",
                    {{"cause", cause}})
        .Add(objects);
  }
  void CountBytes(std::uint64_t bytes) { read_bytes_.Add(bytes); }
  void CountHedge() { hedges_.Add(); }
  void CountHedgeWon() { hedges_won_.Add(); }
  void CountThrottled(double seconds) { throttled_.Observe(seconds); }

 private:
  platform::Metrics& metrics_;
  platform::Counter& read_bytes_;
  platform::Counter& hedges_;
  platform::Counter& hedges_won_;
  platform::Histogram& throttled_;
};

}  // namespace sluice::origin
