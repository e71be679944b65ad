// When a worker that fails is left out, and when it is tried again. Pure: time and chance are given
// to it.
//
//   closed --failures, or one trip--> open --after a while, one caller--> half open
//   half open --answered--> closed        half open --failed--> open, for twice as long
#pragma once

#include <chrono>

namespace sluice::pool {

struct BreakerOptions {
  unsigned failures = 3;  // in a row, with no operation answered between them
  std::chrono::milliseconds first_open{1'000};
  std::chrono::milliseconds longest_open{30'000};  // before chance adds or takes a quarter
};

// Threads: none of its own; the owner locks.
class Breaker {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit Breaker(const BreakerOptions& options) : options_(options) {}

  // `chance` is in [0, 1): clients that lost a worker together do not come back together.
  // True when the breaker opened by this call.
  bool Failure(TimePoint now, double chance);  // of an operation
  bool Trip(TimePoint now, double chance);     // the worker cannot be reached at all

  // True for one caller once the time is over: it tries the worker, and tells.
  bool TryProbe(TimePoint now);
  // The worker answered a greeting: closed. How long the next opening lasts is forgotten only by
  // Success: a worker may greet and yet fail every operation.
  void Reached();
  // An operation was answered.
  void Success();

  [[nodiscard]] bool Closed() const { return state_ == State::kClosed; }
  [[nodiscard]] bool Open() const { return state_ == State::kOpen; }
  // When open: the time of the next probe.
  [[nodiscard]] TimePoint ProbeAt() const { return probe_at_; }

 private:
  enum class State { kClosed, kOpen, kHalfOpen };

  BreakerOptions options_;
  State state_ = State::kClosed;
  unsigned failures_ = 0;
  std::chrono::milliseconds next_open_{0};  // zero: the first
  TimePoint probe_at_;
};

}  // namespace sluice::pool
