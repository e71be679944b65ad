// Leader election over a coordination.k8s.io Lease, as client-go does it: the holder renews, others
// take over when they have seen no renewal for the lease's duration by their own clock (the
// clocks of different machines are never compared).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "sluice/platform/log.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"

namespace sluice::kube {

struct LeaseOptions {
  ObjectKey lease;
  std::string identity;  // unique per process: "<pod>_<random>"
  std::chrono::seconds duration{15};
  // So long after the last renewal nothing more is tried, and leadership is given up. What is left
  // of `duration` then is the time that the request under way may still take.
  std::chrono::seconds renew_deadline{10};
  std::chrono::seconds retry{2};
};

// Threads: one caller at a time.
class LeaderElector {
 public:
  // `cluster` must answer or give up within `duration` - `renew_deadline`: one of its own, with a
  // short deadline.
  LeaderElector(Cluster& cluster, LeaseOptions options, const Clock& clock, platform::Log log);

  // One attempt to take or renew the lease: true when we hold it now. Errors are those of the API.
  Result<bool> TryHold();
  // Frees the lease if it is ours, so that the next one need not wait.
  Status Release();

  // Waits for leadership, then runs `lead` on a thread of its own until `stop` or until the lease
  // is lost. Ok when stopped, kConflict when lost; returns when `lead` has. `lost` is called before
  // that, and before others may take over: work that can hang must be ended there.
  Status Run(const std::stop_token& stop, const std::function<void(std::stop_token)>& lead,
             const std::function<void(const Error&)>& lost);

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  // TryHold that begins no request from `deadline` on (kDeadlineExceeded), and tells a lost race
  // (kConflict) from a lost lease.
  Result<bool> TryHoldUntil(TimePoint deadline);
  bool IsHeldByAnother(const Json& lease, TimePoint now);
  // Holds on until the lease is lost (kConflict) or a token stops (Ok).
  Status KeepHolding(const std::stop_token& stop, const std::stop_token& leading);
  [[nodiscard]] Json Claim(const Json& current) const;

  Cluster& cluster_;
  const LeaseOptions options_;
  const Clock& clock_;
  platform::Log log_;
  // The last record seen, and when by our clock.
  std::string seen_record_;
  TimePoint seen_at_;
  TimePoint renewed_at_;  // when the last write that succeeded was begun
};

}  // namespace sluice::kube
