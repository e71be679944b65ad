#include "idle_connections.h"

#include <poll.h>
#include <sys/socket.h>

namespace sluice::webhook {
namespace {

// Longer than the pauses between two calls of MakeRoom by one that waits.
constexpr std::chrono::milliseconds kMoment{500};

bool HasSomethingToRead(int socket) {
  pollfd fd{socket, POLLIN, 0};
  return ::poll(&fd, 1, 0) != 0;
}

}  // namespace

IdleConnections::Wait::Wait(IdleConnections& owner, int socket)
    : owner_(owner), self_(owner.state_.With([&](State& state) {
        return state.waiting.insert(state.waiting.end(),
                                    Waiting{.socket = socket, .since = Clock::now()});
      })) {}

IdleConnections::Wait::~Wait() {
  owner_.state_.With([&](State& state) { state.waiting.erase(self_); });
}

bool IdleConnections::Wait::WasClosed() const {
  return owner_.state_.With([&](const State&) { return self_->closed; });
}

void IdleConnections::MakeRoom() {
  const auto now = Clock::now();
  // The socket is touched under the lock, where nobody can close it and its number go to another.
  // Neither call waits for anything.
  state_.With([&](State& state) {
    state.room_wanted_at = now;
    for (Waiting& one : state.waiting) {
      if (now - one.since < least_) return;
      if (one.closed || HasSomethingToRead(one.socket)) continue;
      one.closed = true;
      ::shutdown(one.socket, SHUT_RD);
      return;
    }
  });
}

bool IdleConnections::RoomIsWanted() const {
  const auto now = Clock::now();
  return state_.With([&](const State& state) { return now - state.room_wanted_at < kMoment; });
}

}  // namespace sluice::webhook
