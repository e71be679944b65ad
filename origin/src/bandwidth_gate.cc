#include "bandwidth_gate.h"

#include <algorithm>

namespace sluice::origin {

BandwidthGate::Reader::~Reader() {
  if (!gate_.limits_) return;
  gate_.state_.With([&](State& state) { state.limit.Leave(ticket_); });
  gate_.state_.Notify();
}

Result<std::chrono::duration<double>> BandwidthGate::Reader::Wait(std::uint64_t bytes,
                                                                  Time deadline) {
  const Time begin = std::chrono::steady_clock::now();
  if (!gate_.limits_) return std::chrono::duration<double>(0);
  for (Time now = begin;; now = std::chrono::steady_clock::now()) {
    Time next = deadline;
    bool closed = false;
    bool others = false;
    const bool mine = gate_.state_.With([&](State& state) {
      others = !state.limit.Admit(now).empty();
      closed = state.closed;
      if (state.limit.Take(ticket_, bytes, now)) return true;
      next = std::min(deadline, *state.limit.NextAdmission());
      return false;
    });
    if (others) gate_.state_.Notify();
    if (mine) return std::chrono::duration<double>(now - begin);
    if (closed) return Fail(Code::kUnavailable, "the client is shutting down");
    if (now >= deadline) {
      return Fail(
          Code::kDeadlineExceeded,
          "not read in time: the origin's option \"bandwidth\" is too low for what is read");
    }
    gate_.state_.WaitUntil(next,
                           [&](const State& state) { return state.closed || !ticket_.waiting; });
  }
}

void BandwidthGate::Close() {
  state_.With([](State& state) { state.closed = true; });
  state_.Notify();
}

}  // namespace sluice::origin
