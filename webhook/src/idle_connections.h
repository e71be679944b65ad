// Connections that wait for a request, and how they give way when new clients find no room.
#pragma once

#include <chrono>
#include <list>

#include "sluice/platform/guarded.h"

namespace sluice::webhook {

// Threads: any.
class IdleConnections {
 public:
  using Clock = std::chrono::steady_clock;

 private:
  struct Waiting {
    int socket;
    Clock::time_point since;
    bool closed = false;
  };
  struct State {
    std::list<Waiting> waiting;  // the longest first
    Clock::time_point room_wanted_at;
  };

 public:
  // A connection that has waited for less than `least` is left alone: its client may be sending.
  explicit IdleConnections(std::chrono::milliseconds least) : least_(least) {}

  // One wait for a request. The socket must stay open for as long as the object lives.
  class Wait {
   public:
    Wait(IdleConnections& owner, int socket);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

    // Whether the connection was closed to make room: what it reads now is no request.
    [[nodiscard]] bool WasClosed() const;

   private:
    IdleConnections& owner_;
    std::list<Waiting>::iterator self_;
  };

  // Closes the reading side of the connection that has waited longest, which wakes it.
  void MakeRoom();
  // Whether room was asked for a moment ago: connections should end with the request they serve.
  [[nodiscard]] bool RoomIsWanted() const;

 private:
  const std::chrono::milliseconds least_;
  platform::Guarded<State> state_;
};

}  // namespace sluice::webhook
