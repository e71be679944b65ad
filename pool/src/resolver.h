// Host names to addresses, on threads of their own.
#pragma once

#include <sys/socket.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
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

// Addresses by the system's resolver; blocks, for seconds when a name server does not answer.
Addresses LookUpName(const std::string& address);

// Threads: any. Who asks has one look-up under way at most, which bounds the queue.
class Resolver {
 public:
  using LookUp = std::function<Addresses(const std::string& address)>;

  explicit Resolver(LookUp look_up = LookUpName);
  ~Resolver() { Stop(); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Nothing is called afterwards. Waits for a callback, never for a look-up.
  void Stop();

  // `done` is called once, on another thread or (where none is to be had) from within; or never
  // when the resolver is stopped first.
  void Resolve(std::string address, std::function<void(Addresses)> done);

 private:
  struct Request {
    std::string address;
    std::function<void(Addresses)> done;
  };
  struct State {
    std::deque<Request> waiting;
    unsigned threads = 0;
    unsigned telling = 0;  // threads within a callback
    bool stopped = false;
  };
  struct Shared {
    LookUp look_up;
    platform::Guarded<State> state;
  };
  static void Serve(const std::shared_ptr<Shared>& shared);

  const std::shared_ptr<Shared> shared_;
};

}  // namespace sluice::pool
