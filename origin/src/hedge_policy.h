// When a request that has no answer yet is worth a second one. Learns how long this origin takes to
// its first byte, and keeps second requests few. Pure: times are arguments.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <vector>

namespace sluice::origin {

struct HedgeOptions {
  std::chrono::milliseconds floor{50};  // no request is slow before
  // Of the latest requests: how many are remembered, and how many it takes to know anything.
  std::size_t most_samples = 128;
  std::size_t least_samples = 16;
  double quantile = 0.95;       // slower than so many of them is slow,
  double times_the_median = 2;  // and as often as long as half of them at least
  double share = 0.05;          // second requests for each request,
  double burst = 2;             // and so many more at once
  // After an answer that says that the origin is overloaded there are none for so long.
  std::chrono::milliseconds calm{30'000};
};

// Threads: one at a time.
class HedgePolicy {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  explicit HedgePolicy(const HedgeOptions& options = {});

  // A first request was sent.
  void OnRequest();
  // It was answered so long after.
  void OnFirstByte(Duration after);
  // The origin has said that it has too much to do.
  void OnOverload(Time now) { calm_until_ = now + options_.calm; }

  // How long a request waits for its first byte before it is slow; nothing while too few are known,
  // or the origin needs rest.
  [[nodiscard]] std::optional<Duration> Threshold(Time now) const;
  // Whether a second request may be sent now; if so, it counts.
  bool Take(Time now);

 private:
  void Learn();

  const HedgeOptions options_;
  std::vector<Duration> samples_;  // a ring
  std::size_t next_ = 0;
  std::size_t fresh_ = 0;  // not learned from yet
  std::optional<Duration> threshold_;
  double budget_;
  Time calm_until_;
};

}  // namespace sluice::origin
