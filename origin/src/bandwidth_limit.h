// Shares so many bytes a second among readers: a token bucket, and a line in which those that must
// wait take turns. Never gives more than rate * time + burst. Pure: times are arguments.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace sluice::origin {

class BandwidthLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  // A reader's place. It must stay where it is between Take and Leave.
  struct Ticket {
    void* owner = nullptr;  // for who calls Admit
    std::uint64_t allowance = 0;
    std::uint64_t wanted = 0;
    bool waiting = false;
    Time since;
  };

  explicit BandwidthLimit(std::uint64_t bytes_per_second);  // 0: no limit

  // Whether the reader may have `bytes` now. If not it stands in line, until Admit names it; then
  // it asks again.
  bool Take(Ticket& ticket, std::uint64_t bytes, Time now);
  // Those whose turn has come: they leave the line.
  std::vector<Ticket*> Admit(Time now);
  // When Admit will name somebody; nothing when nobody waits.
  [[nodiscard]] std::optional<Time> NextAdmission() const;
  // The reader is done, or gone: gives back what it was allowed and did not take.
  void Leave(Ticket& ticket);

  [[nodiscard]] bool Limits() const { return rate_ > 0; }
  // What may come at once after a pause, and the most that a reader gets before others' turn.
  [[nodiscard]] std::uint64_t Burst() const { return static_cast<std::uint64_t>(burst_); }

 private:
  void Refill(Time now);
  // What must be there before the reader gets anything.
  [[nodiscard]] double Needed(const Ticket& ticket) const;
  void Grant(Ticket& ticket);

  double rate_;
  double burst_;
  double tokens_;
  std::optional<Time> filled_;  // when
  std::deque<Ticket*> line_;
};

}  // namespace sluice::origin
