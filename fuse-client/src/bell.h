// What a thread that sleeps between two pieces of work is woken by.
#pragma once

#include <chrono>
#include <stop_token>

#include "sluice/platform/guarded.h"

namespace sluice::fuse_client {

// Threads: Ring from any, Sleep from one.
class Bell {
 public:
  // Ends the sleep under way, or else the next one at once.
  void Ring();

  // Until Ring, `stop` or the end of `time`; false when stopped. Uses up the ring.
  bool Sleep(const std::stop_token& stop, std::chrono::milliseconds time);

 private:
  platform::Guarded<bool> rung_;
};

}  // namespace sluice::fuse_client
