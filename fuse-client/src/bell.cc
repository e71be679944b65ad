#include "bell.h"

#include <utility>

namespace sluice::fuse_client {

void Bell::Ring() {
  rung_.With([](bool& rung) { rung = true; });
  rung_.Notify();
}

template <typename Ready>
bool Bell::Wait(const std::stop_token& stop, std::chrono::milliseconds time, Ready&& ready) {
  const std::stop_callback wake_up(stop, [this] {
    // The lock makes this wait for a sleeper that has looked at `stop` and not fallen asleep yet:
    // it would miss the notice.
    rung_.With([](bool&) {});
    rung_.Notify();
  });
  rung_.WaitUntil(std::chrono::steady_clock::now() + time,
                  [&](bool rung) { return stop.stop_requested() || ready(rung); });
  return !stop.stop_requested();
}

bool Bell::Sleep(const std::stop_token& stop, std::chrono::milliseconds time) {
  const bool go_on = Wait(stop, time, [](bool rung) { return rung; });
  rung_.With([](bool& rung) { rung = false; });
  return go_on;
}

bool Bell::Rest(const std::stop_token& stop, std::chrono::milliseconds time) {
  return Wait(stop, time, [](bool) { return false; });
}

}  // namespace sluice::fuse_client
