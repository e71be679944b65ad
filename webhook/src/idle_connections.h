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
  // `stop_fd` and `memory` as TlsStream's.
  Connection(platform::UniqueFd socket, SSL_CTX* context, int stop_fd, RequestMemory& memory,
             platform::Gauge& open);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  TlsStream& Stream() { return stream_; }

  // Of the thread that has the connection now.
  enum class Phase { kHandshake, kBetweenRequests, kRequest };
  Phase phase = Phase::kHandshake;
  std::uint32_t events = EPOLLIN;  // that it waits for
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
  };
  IdleConnections(std::size_t max_count, Handlers handlers);
  ~IdleConnections();  // stops

  void Start();
  // Keeps it until one of its events has come or its time is over. The one that waits longest of
  // too many is closed, and so is one that comes after Stop.
  void Keep(ConnectionPtr connection);
  // Resumes those that can go on, closes the others.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    std::list<ConnectionPtr> connections;  // the longest first
    Clock::time_point looks_at;            // when the thread looks by itself
    bool stopped = false;
  };
  // What the kernel says at once.
  using Events = std::array<epoll_event, 64>;

  void Run(const std::stop_token& stop);
  // Waits until one can go on or Wake was called, but not longer than `deadline`; resumes all that
  // can. True after Wake.
  bool ResumeReady(Clock::time_point deadline);
  ConnectionPtr Take(Connection& connection);
  // Closes those that wait longest of more than `max_count`.
  void CloseTooMany(std::size_t max_count);
  void CloseOverdue(Clock::time_point now);
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
