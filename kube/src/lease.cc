#include "sluice/kube/lease.h"

#include <thread>

#include <fmt/format.h>

#include "sluice/core/timestamp.h"
#include "sluice/platform/pause.h"

namespace sluice::kube {

LeaderElector::LeaderElector(Cluster& cluster, LeaseOptions options, const Clock& clock,
                             platform::Log log)
    : cluster_(cluster), options_(std::move(options)), clock_(clock), log_(std::move(log)) {}

Json LeaderElector::Claim(const Json& current) const {
  const std::string now = FormatMicroTime(clock_.WallNow());
  const bool ours = StringAt(current, "/spec/holderIdentity") == options_.identity;
  const Json& transitions = ValueAt(current, "/spec/leaseTransitions");
  const int count = transitions.is_number_integer() ? transitions.get<int>() : 0;
  Json lease =
      current.is_object()
          ? current
          : Json{{"apiVersion", "coordination.k8s.io/v1"},
                 {"kind", "Lease"},
                 {"metadata", {{"name", options_.lease.name}, {"namespace", options_.lease.ns}}}};
  lease["spec"] = {{"holderIdentity", options_.identity},
                   {"leaseDurationSeconds", options_.duration.count()},
                   {"acquireTime", ours ? StringAt(current, "/spec/acquireTime", now) : now},
                   {"renewTime", now},
                   {"leaseTransitions", current.is_object() && !ours ? count + 1 : count}};
  return lease;
}

Result<bool> LeaderElector::TryHold() {
  auto held = TryHoldUntil(TimePoint::max());
  if (!held && held.error().code == Code::kConflict) return false;
  return held;
}

Result<bool> LeaderElector::TryHoldUntil(TimePoint deadline) {
  if (clock_.Now() >= deadline) return Fail(Code::kDeadlineExceeded, "not renewed in time");
  auto current = cluster_.Get(resources::kLease, options_.lease);
  if (!current && current.error().code != Code::kNotFound) return Fail(current.error());
  const TimePoint now = clock_.Now();
  if (current && IsHeldByAnother(*current, now)) return false;
  if (now >= deadline) return Fail(Code::kDeadlineExceeded, "read too late to be renewed in time");
  // The resourceVersion in the object makes this safe against another taker.
  auto written = current ? cluster_.Replace(resources::kLease, Claim(*current))
                         : cluster_.Create(resources::kLease, Claim(Json()));
  if (written) {
    renewed_at_ = now;
    return true;
  }
  if (written.error().code == Code::kAlreadyExists) return Fail(Code::kConflict, "lost a race");
  return Fail(written.error());
}

bool LeaderElector::IsHeldByAnother(const Json& lease, TimePoint now) {
  const std::string holder = StringAt(lease, "/spec/holderIdentity");
  if (holder.empty() || holder == options_.identity) return false;
  std::string record = holder + " " + StringAt(lease, "/spec/renewTime");
  if (record != seen_record_) {
    seen_record_ = std::move(record);
    seen_at_ = now;
  }
  return now - seen_at_ < options_.duration;
}

Status LeaderElector::Release() {
  SLUICE_TRY(current, cluster_.Get(resources::kLease, options_.lease), "release lease");
  if (StringAt(current, "/spec/holderIdentity") != options_.identity) return Ok();
  current["spec"]["holderIdentity"] = "";
  current["spec"]["leaseDurationSeconds"] = 1;
  SLUICE_TRY(released, cluster_.Replace(resources::kLease, current), "release lease");
  return Ok();
}

Status LeaderElector::KeepHolding(const std::stop_token& stop, const std::stop_token& leading) {
  while (platform::Pause(stop, options_.retry) && !leading.stop_requested()) {
    const TimePoint deadline = renewed_at_ + options_.renew_deadline;
    auto held = TryHoldUntil(deadline);
    if (held && *held) continue;
    if (held || clock_.Now() >= deadline) {
      return Fail(Code::kConflict,
                  fmt::format("lease {} lost: {}", options_.lease.ToString(),
                              held ? "another process holds it" : held.error().message));
    }
    log_.Warn("lease not renewed", {{"error", held.error().message}});
  }
  return Ok();
}

Status LeaderElector::Run(const std::stop_token& stop,
                          const std::function<void(std::stop_token)>& lead,
                          const std::function<void(const Error&)>& lost) {
  for (;;) {
    if (stop.stop_requested()) return Ok();
    auto held = TryHold();
    if (held && *held) break;
    if (!held) log_.Warn("lease not reachable", {{"error", held.error().message}});
    if (!platform::Pause(stop, options_.retry)) return Ok();
  }
  log_.Info("leading", {{"lease", options_.lease.ToString()}, {"identity", options_.identity}});
  Status outcome = Ok();
  {
    std::stop_source ended;
    std::jthread work([&](const std::stop_token& token) {
      lead(token);
      ended.request_stop();
    });
    outcome = KeepHolding(stop, ended.get_token());
    if (!outcome) lost(outcome.error());
  }  // joins the work before the lease is freed
  if (outcome) {
    if (Status released = Release(); !released) {
      log_.Warn("lease not released", {{"error", released.error().message}});
    }
  }
  return outcome;
}

}  // namespace sluice::kube
