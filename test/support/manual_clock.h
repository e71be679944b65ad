// A clock that tests turn by hand.
#pragma once

#include <atomic>
#include <chrono>

#include "sluice/ports/clock.h"

namespace sluice::test {

class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::chrono::seconds unix_time = std::chrono::seconds(1'700'000'000))
      : micros_(std::chrono::microseconds(unix_time).count()) {}

  [[nodiscard]] std::chrono::steady_clock::time_point Now() const override {
    return std::chrono::steady_clock::time_point(std::chrono::microseconds(micros_.load()));
  }
  [[nodiscard]] std::chrono::system_clock::time_point WallNow() const override {
    return std::chrono::system_clock::time_point(std::chrono::microseconds(micros_.load()));
  }
  void Advance(std::chrono::microseconds time) { micros_ += time.count(); }

 private:
  std::atomic<std::int64_t> micros_;
};

}  // namespace sluice::test
