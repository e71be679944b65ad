// A limit of bandwidth for threads that read: they wait here for their turn.
#pragma once

#include <chrono>
#include <cstdint>

#include "sluice/core/result.h"
#include "sluice/platform/guarded.h"

#include "bandwidth_limit.h"

namespace sluice::origin {

// Threads: any.
class BandwidthGate {
 public:
  using Time = BandwidthLimit::Time;

  explicit BandwidthGate(std::uint64_t bytes_per_second)  // 0: no limit
      : limits_(bytes_per_second > 0), state_(State{BandwidthLimit(bytes_per_second)}) {}

  // One who reads. One thread at a time.
  class Reader {
   public:
    explicit Reader(BandwidthGate& gate) : gate_(gate) {}
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // Waits for the turn to read so many bytes; returns how long. kDeadlineExceeded, or
    // kUnavailable once the gate is closed.
    Result<std::chrono::duration<double>> Wait(std::uint64_t bytes, Time deadline);

   private:
    BandwidthGate& gate_;
    BandwidthLimit::Ticket ticket_;
  };

  // Ends every wait.
  void Close();
  [[nodiscard]] bool Limits() const { return limits_; }

 private:
  struct State {
    BandwidthLimit limit;
    bool closed = false;
  };
  const bool limits_;
  platform::Guarded<State> state_;
};

}  // namespace sluice::origin
