// Connections between two requests. They take no thread, so that a client that keeps its connection
// never has to give way to another one: closing a connection loses a request that is on its way.
#pragma once

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

 private:
  platform::UniqueFd socket_;
  TlsStream stream_;
  platform::Gauge& open_;
};

using ConnectionPtr = std::shared_ptr<Connection>;

struct IdleLimits {
  std::size_t count;
  std::chrono::milliseconds time;
};

// Threads: any.
class IdleConnections {
 public:
  // `resume` gets each connection that has something to read, on the thread of this object, which
  // waits for it.
  IdleConnections(IdleLimits limits, std::function<void(ConnectionPtr)> resume);
  ~IdleConnections();  // stops

  void Start();
  // Keeps it until it has something to read. One that has waited for too long, or longest of too
  // many, is closed; so is one that comes after Stop.
  void Keep(ConnectionPtr connection);
  // Resumes those that have something to read, closes the others.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    ConnectionPtr connection;
    Clock::time_point until;
  };
  struct Arrivals {
    std::vector<ConnectionPtr> connections;
    bool stopped = false;
  };

  void Run(const std::stop_token& stop);
  void TakeArrivals();
  // Waits until one has something to read or Wake was called, but not longer than `deadline`.
  void ResumeReadable(Clock::time_point deadline);
  void CloseFront();
  void Wake() const;

  const IdleLimits limits_;
  const std::function<void(ConnectionPtr)> resume_;
  const platform::UniqueFd wake_;
  platform::Guarded<Arrivals> arrivals_;
  std::list<Waiting> waiting_;  // the longest first; of the thread
  std::jthread thread_;
};

}  // namespace sluice::webhook
