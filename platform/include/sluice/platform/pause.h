// Waiting for time to pass, but not longer than a stop.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>

namespace sluice::platform {

// Waits this long; false, at once, when `stop` is requested.
inline bool Pause(const std::stop_token& stop, std::chrono::steady_clock::duration time) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace sluice::platform
