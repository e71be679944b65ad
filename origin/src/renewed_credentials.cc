#include "renewed_credentials.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/timestamp.h"
#include "sluice/platform/pause.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kShortestLife{1};      // between two renewals, whatever a server says
constexpr seconds kLongestLife{43'200};  // of credentials that are not renewed: AWS's longest

bool MayPass(const Error& error) {
  return error.code == Code::kUnavailable || error.code == Code::kDeadlineExceeded;
}

}  // namespace

RenewedCredentials::RenewedCredentials(std::unique_ptr<CredentialsSource> source,
                                       const RenewalLimits& limits, const Clock& clock,
                                       platform::Metrics& metrics, platform::Log log)
    : source_(std::move(source)),
      limits_(limits),
      clock_(clock),
      metrics_(metrics),
      log_(std::move(log)),
      random_(std::random_device{}()),
      pause_(limits.first_pause),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

Result<SharedCredentials> RenewedCredentials::Current() {
  const auto wall = clock_.WallNow();
  const auto now = clock_.Now();
  bool wake = false;
  auto current = state_.With([&](State& state) -> Result<SharedCredentials> {
    const bool valid = state.credentials != nullptr && !state.refused && wall < state.expires;
    const bool due = !valid || wall >= state.renew_at;
    if (due && !state.wanted && now >= state.not_before) state.wanted = wake = true;
    if (valid) return state.credentials;
    if (state.wanted) return SharedCredentials();
    return Fail(*state.failure);  // only a failed renewal makes the next one wait
  });
  if (wake) state_.Notify();
  return current;
}

Result<Renewal> RenewedCredentials::Renew(const SharedCredentials& refused) {
  const auto now = clock_.Now();
  const Renewal renewal = state_.With([&](State& state) {
    if (state.credentials != refused) return Renewal::kRenewed;
    // Fresh ones are not refused for their age; others from the same source would be as well.
    if (now - state.renewed < limits_.refusal_pause) return Renewal::kUnchanged;
    state.refused = true;
    if (now >= state.not_before) state.wanted = true;
    return Renewal::kUnderWay;
  });
  if (renewal == Renewal::kUnderWay) state_.Notify();
  return renewal;
}

void RenewedCredentials::Run(const std::stop_token& stop) {
  constexpr std::chrono::hours kLongestWait{1};
  while (!stop.stop_requested()) {
    const bool wanted = state_.WaitUntil(std::chrono::steady_clock::now() + kLongestWait, stop,
                                         [](const State& state) { return state.wanted; });
    if (!wanted) continue;
    auto fresh = AskSeveralTimes(stop);
    if (stop.stop_requested()) return;
    if (fresh) {
      Keep(std::move(*fresh));
    } else {
      NoteFailure(fresh.error());
    }
  }
}

Result<TemporaryCredentials> RenewedCredentials::AskSeveralTimes(const std::stop_token& stop) {
  const auto deadline = std::chrono::steady_clock::now() + limits_.deadline;
  milliseconds backoff = limits_.first_backoff;
  for (unsigned attempt = 1;; ++attempt) {
    auto fresh = AskOnce(deadline, stop);
    if (fresh || !MayPass(fresh.error())) return fresh;
    const milliseconds wait = Jittered(milliseconds(0), backoff);
    const bool last = attempt >= limits_.max_attempts ||
                      std::chrono::steady_clock::now() + wait >= deadline ||
                      !platform::Pause(stop, wait);
    if (last) {
      Error error = fresh.error();
      if (attempt > 1) error.message += fmt::format(" (tried {} times)", attempt);
      return Fail(std::move(error));
    }
    backoff = std::min(backoff * 2, limits_.max_backoff);
  }
}

Result<TemporaryCredentials> RenewedCredentials::AskOnce(
    std::chrono::steady_clock::time_point deadline, const std::stop_token& stop) {
  auto fresh = source_->Ask(deadline, stop);
  if (fresh && fresh->expires <= clock_.WallNow()) {
    return Fail(Code::kUnavailable,
                fmt::format("the credentials that it gave ended at {}: check the node's clock",
                            FormatTime(fresh->expires)));
  }
  return fresh;
}

void RenewedCredentials::Keep(TemporaryCredentials fresh) {
  const auto wall = clock_.WallNow();
  const auto life = std::chrono::duration_cast<milliseconds>(fresh.expires - wall);
  const milliseconds margin = std::min<milliseconds>(limits_.margin, life / 3);
  // With jitter, so that the clients of a cluster that started together do not ask together.
  const milliseconds until = life - Jittered(margin, margin * 3 / 2);
  pause_ = limits_.first_pause;
  state_.With([&](State& state) {
    state.credentials = std::make_shared<const Credentials>(std::move(fresh.credentials));
    state.expires = fresh.expires;
    state.renew_at = wall + std::clamp<milliseconds>(until, kShortestLife, kLongestLife);
    state.renewed = clock_.Now();
    state.refused = state.wanted = false;
    state.failure.reset();
    state.not_before = {};
  });
  const std::string source(source_->Name());
  metrics_
      .AddCounter("sluice_origin_credentials_total", "Renewals of temporary credentials.",
                  {{"source", source}, {"result", "renewed"}})
      .Add();
  metrics_
      .AddGauge("sluice_origin_credentials_expiry_timestamp_seconds",
                "When the latest temporary credentials end.", {{"source", source}})
      .Set(static_cast<double>(std::chrono::system_clock::to_time_t(fresh.expires)));
  log_.Info(
      "credentials renewed",
      {{"source", source}, {"place", source_->Place()}, {"expires", FormatTime(fresh.expires)}});
}

void RenewedCredentials::NoteFailure(Error error) {
  error = error.Wrap(fmt::format("credentials ({}) from {}", source_->Name(), source_->Place()));
  metrics_
      .AddCounter("sluice_origin_credentials_total", "Renewals of temporary credentials.",
                  {{"source", std::string(source_->Name())}, {"result", "failed"}})
      .Add();
  const milliseconds wait = Jittered(pause_ / 2, pause_);
  pause_ = std::min(pause_ * 2, limits_.max_pause);
  const auto wall = clock_.WallNow();
  const bool valid = state_.With([&](State& state) {
    state.failure = error;
    state.not_before = clock_.Now() + wait;
    state.wanted = false;
    return state.credentials != nullptr && !state.refused && wall < state.expires;
  });
  log_.Warn("cannot renew the credentials",
            {{"error", error.message}, {"old_ones_are_valid", valid}});
}

milliseconds RenewedCredentials::Jittered(milliseconds least, milliseconds most) {
  std::uniform_int_distribution<milliseconds::rep> pick(least.count(), most.count());
  return milliseconds(pick(random_));
}

}  // namespace sluice::origin
