// A value that can be reached only while its mutex is held.
#pragma once

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

namespace sluice::platform {

// `guarded.With([](T& value) { … })` runs the function under the lock and returns its result. Do no
// I/O and call no callback inside.
template <typename T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}

  template <typename F>
  decltype(auto) With(F&& f) {
    std::lock_guard lock(mutex_);
    return std::forward<F>(f)(value_);
  }
  template <typename F>
  decltype(auto) With(F&& f) const {
    std::lock_guard lock(mutex_);
    return std::forward<F>(f)(value_);
  }
  // Waits until `ready(value)` or the deadline; returns the last `ready(value)`. Wake with
  // Notify().
  template <typename Ready, typename TimePoint>
  bool WaitUntil(const TimePoint& deadline, Ready&& ready) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, deadline, [&] { return ready(value_); });
  }
  // The same, but not longer than until `stop` is requested.
  template <typename Ready, typename TimePoint>
  bool WaitUntil(const TimePoint& deadline, const std::stop_token& stop, Ready&& ready) {
    const std::stop_callback wake(stop, [this] {
      // Not between a look at the condition and the wait for its change.
      { std::lock_guard lock(mutex_); }
      changed_.notify_all();
    });
    bool holds = false;
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline, [&] {
      holds = ready(value_);
      return holds || stop.stop_requested();
    });
    return holds;
  }
  void Notify() { changed_.notify_all(); }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  T value_{};
};

}  // namespace sluice::platform
