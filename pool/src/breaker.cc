#include "breaker.h"

#include <algorithm>

namespace sluice::pool {

bool Breaker::Failure(TimePoint now, double chance) {
  if (state_ != State::kClosed) return false;
  if (++failures_ < options_.failures) return false;
  return Trip(now, chance);
}

bool Breaker::Trip(TimePoint now, double chance) {
  if (state_ == State::kOpen) return false;
  state_ = State::kOpen;
  failures_ = 0;
  const auto open = std::max(next_open_, options_.first_open);
  next_open_ = std::min(open * 2, options_.longest_open);
  const std::chrono::duration<double, std::milli> varied = open * (0.75 + chance / 2);
  probe_at_ = now + std::chrono::duration_cast<std::chrono::milliseconds>(varied);
  return true;
}

bool Breaker::TryProbe(TimePoint now) {
  if (state_ != State::kOpen || now < probe_at_) return false;
  state_ = State::kHalfOpen;
  return true;
}

void Breaker::Reached() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  failures_ = 0;
}

void Breaker::Success() {
  failures_ = 0;
  if (state_ == State::kClosed) next_open_ = std::chrono::milliseconds(0);
}

}  // namespace sluice::pool
