// Host names to addresses, on a thread of its own: the system's resolver blocks, for seconds when
// a name server does not answer.
#pragma once

#include <sys/socket.h>

#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/platform/guarded.h"

namespace sluice::pool {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};
using Addresses = Result<std::vector<SocketAddress>>;

// "10.0.0.7:11211", "[::1]:11211", "worker-0.workers:11211". Numbers need no resolver:
// kNotFound for what is not one.
Addresses NumericAddress(const std::string& address);

// Threads: any. One look-up at a time; whoever asks has one under way at most, which bounds the
// queue.
class Resolver {
 public:
  Resolver();
  ~Resolver() { Stop(); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Waits for the look-up under way, as long as the system's resolver takes. Nothing is called
  // afterwards.
  void Stop();

  // `done` is called on the resolver's thread, or never when it is stopped first.
  void Resolve(std::string address, std::function<void(Addresses)> done);

 private:
  struct Request {
    std::string address;
    std::function<void(Addresses)> done;
  };
  void Run(const std::stop_token& stop);

  platform::Guarded<std::deque<Request>> requests_;
  std::jthread thread_;
};

}  // namespace sluice::pool
