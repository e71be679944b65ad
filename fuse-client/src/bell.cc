#include "bell.h"

namespace sluice::fuse_client {

void Bell::Ring() {
  rung_.With([](bool& rung) { rung = true; });
  rung_.Notify();
}

bool Bell::Sleep(const std::stop_token& stop, std::chrono::milliseconds time) {
  rung_.WaitUntil(std::chrono::steady_clock::now() + time, stop, [](bool rung) { return rung; });
  rung_.With([](bool& rung) { rung = false; });
  return !stop.stop_requested();
}

}  // namespace sluice::fuse_client
