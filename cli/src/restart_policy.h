// When a client that died is started again, and when not any more.
#pragma once

#include <chrono>
#include <deque>
#include <optional>

namespace sluice::cli {

// At once the first time, then after growing pauses; never after `kMaxDeaths` deaths within
// `kWindow`. Pure: time is an argument.
class RestartPolicy {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMaxDeaths = 10;
  static constexpr std::chrono::seconds kWindow{60};

  // The pause before the next start; nothing: give up.
  std::optional<std::chrono::milliseconds> OnDeath(Time now) {
    deaths_.push_back(now);
    while (!deaths_.empty() && now - deaths_.front() > kWindow) deaths_.pop_front();
    if (deaths_.size() >= kMaxDeaths) return std::nullopt;
    if (deaths_.size() == 1) return std::chrono::milliseconds(0);
    return std::chrono::milliseconds(25) * (1 << (deaths_.size() - 2));
  }

 private:
  std::deque<Time> deaths_;
};

}  // namespace sluice::cli
