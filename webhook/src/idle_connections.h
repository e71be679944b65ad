// Connections that wait for their peer: between two requests, in the middle of one or of the
// handshake. They take no thread, so that neither a slow client holds one nor a client that keeps
// its connection has to give way to another: closing a connection loses a request on its way.
#pragma once

#include <poll.h>

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include <openssl/ssl.h>

#include "sluice/platform/guarded.h"
#include "sluice/platform/metrics.h"
#include "sluice/platform/unique_fd.h"

#include "tls_stream.h"

namespace sluice::webhook {

// An open connection; counted as long as it lives.
class Connection {
 public:
  // `stop_fd` as TlsStream's.
  Connection(platform::UniqueFd socket, SSL_CTX* context, int stop_fd, platform::Gauge& open);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  TlsStream& Stream() { return stream_; }

  // Of the thread that has the connection now.
  enum class Phase { kHandshake, kBetweenRequests, kRequest };
  Phase phase = Phase::kHandshake;
  short events = POLLIN;  // that it waits for
  std::chrono::steady_clock::time_point until;

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
  struct Arrivals {
    std::vector<ConnectionPtr> connections;
    bool stopped = false;
  };

  void Run(const std::stop_token& stop);
  void TakeArrivals();
  // Waits until one can go on or Wake was called, but not longer than `deadline`.
  void ResumeReady(Clock::time_point deadline);
  void CloseFront();
  void CloseOverdue(Clock::time_point now);
  [[nodiscard]] Clock::time_point NextDeadline() const;
  void Wake() const;

  const std::size_t max_count_;
  const Handlers handlers_;
  const platform::UniqueFd wake_;
  platform::Guarded<Arrivals> arrivals_;
  std::list<ConnectionPtr> waiting_;  // the longest first; of the thread
  std::jthread thread_;
};

}  // namespace sluice::webhook
