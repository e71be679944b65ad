// Connections that wait for their peer: between two requests, in the middle of one or of the
// handshake. They take no thread, so that neither a slow client holds one nor a client that keeps
// its connection has to give way to another: closing a connection loses a request on its way.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <thread>

#include <openssl/ssl.h>

#include "sluice/platform/guarded.h"
#include "sluice/platform/metrics.h"
#include "sluice/platform/unique_fd.h"

#include "tls_stream.h"

namespace sluice::webhook {

// An open connection; counted as long as it lives.
class Connection {
 public:
  // `memory` as TlsStream's.
  Connection(platform::UniqueFd socket, SSL_CTX* context, RequestMemory& memory,
             platform::Gauge& open);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  TlsStream& Stream() { return stream_; }

  // Of the thread that has the connection now.
  // kLeaving: all is said, but the peer may still be sending.
  enum class Phase { kHandshake, kBetweenRequests, kRequest, kLeaving };
  Phase phase = Phase::kHandshake;
  std::uint32_t events = EPOLLIN;               // that it waits for
  std::chrono::steady_clock::time_point since;  // of the phase
  std::chrono::steady_clock::time_point until;

  // Of IdleConnections.
  std::list<std::shared_ptr<Connection>>::iterator place;
  bool watched = false;  // its socket is known to the kernel's set

 private:
  platform::UniqueFd socket_;
  TlsStream stream_;
  platform::Gauge& open_;
};

using ConnectionPtr = std::shared_ptr<Connection>;

// Threads: any.
class IdleConnections {
 public:
  struct Handlers {
    // Gets each connection that can go on, on the thread of this object, which waits for it.
    std::function<void(ConnectionPtr)> resume;
    // Gets each that cannot: its time is over, there are too many, or the server stops.
    std::function<void(Connection&)> close;
    // Whether those that were resumed may still come back.
    std::function<bool()> expects_more;
  };
  IdleConnections(std::size_t max_count, Handlers handlers);
  ~IdleConnections();  // stops

  void Start();
  // Keeps it until one of its events has come or its time is over. Of too many one is closed: of
  // those between two requests and of the others whichever are more than half, and there the one
  // that is longest in its phase. So slow clients do not drive out those that keep their
  // connection, and those that are kept leave room for new ones.
  void Keep(ConnectionPtr connection);
  // Resumes those that can go on and closes the others, but not in the middle of a request: such
  // have their time. Returns when none is left.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    std::list<ConnectionPtr> connections;
    Clock::time_point looks_at;  // when the thread looks by itself
    bool stopped = false;        // keeps only what is in the middle of a request
    bool ended = false;          // keeps nothing
    [[nodiscard]] bool Keeps(const Connection& connection) const;
  };
  // What the kernel says at once.
  using Events = std::array<epoll_event, 64>;

  void Run(const std::stop_token& stop);
  // Waits until one can go on or Wake was called, but not longer than `deadline`; resumes all that
  // can. True after Wake.
  bool ResumeReady(Clock::time_point deadline);
  ConnectionPtr Take(Connection& connection);
  void CloseTooMany();
  void CloseOverdue(Clock::time_point now);
  // Lets requests that are arriving come to their end.
  void Drain();
  // Closes those for which this is true.
  void CloseIf(const std::function<bool(const Connection&)>& condition);
  void ChooseNextLook();
  void Wake() const;

  const std::size_t max_count_;
  const Handlers handlers_;
  const platform::UniqueFd wake_;
  // The kernel's set of what is waited for. Each says so once and is then armed again by Keep, so
  // that a connection costs one call for each wait, however many wait.
  const platform::UniqueFd set_;
  platform::Guarded<Waiting> waiting_;
  std::jthread thread_;
};

}  // namespace sluice::webhook
