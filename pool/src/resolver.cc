#include "resolver.h"

#include <netdb.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace sluice::pool {
namespace {

constexpr std::size_t kMostAddresses = 4;
// Of names that are looked up at a time: one that takes long does not delay the others.
constexpr unsigned kMostThreads = 8;

struct AddressListDeleter {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

Addresses LookUp(const std::string& address, int flags) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return Fail(Code::kInvalidArgument, fmt::format("{}: must be <host>:<port>", address));
  }
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, AddressListDeleter> list(found);
  if (error != 0) {
    return Fail(Code::kNotFound, fmt::format("{}: {}", address, ::gai_strerror(error)));
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    if (addresses.size() == kMostAddresses) break;
    if (one->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress& added = addresses.emplace_back();
    std::memcpy(&added.storage, one->ai_addr, one->ai_addrlen);
    added.length = one->ai_addrlen;
  }
  if (addresses.empty()) return Fail(Code::kNotFound, fmt::format("{}: no address", address));
  return addresses;
}

}  // namespace

Addresses NumericAddress(const std::string& address) { return LookUp(address, AI_NUMERICHOST); }

Addresses LookUpName(const std::string& address) { return LookUp(address, AI_ADDRCONFIG); }

Resolver::Resolver(LookUp look_up) : shared_(std::make_shared<Shared>()) {
  shared_->look_up = std::move(look_up);
}

void Resolver::Stop() {
  std::deque<Request> dropped;
  shared_->state.With([&](State& state) {
    state.stopped = true;
    dropped.swap(state.waiting);
  });
  while (!shared_->state.WaitUntil(std::chrono::steady_clock::now() + std::chrono::hours(1),
                                   [](const State& state) { return state.telling == 0; })) {
  }
}

void Resolver::Resolve(std::string address, std::function<void(Addresses)> done) {
  const bool another = shared_->state.With([&](State& state) {
    if (state.stopped) return false;
    state.waiting.push_back({std::move(address), std::move(done)});
    if (state.threads == kMostThreads) return false;
    ++state.threads;
    return true;
  });
  if (!another) return;
  try {
    // Detached, as nothing ends a look-up before its time; it has all that it touches.
    std::thread([shared = shared_] { Serve(shared); }).detach();
  } catch (const std::system_error& error) {
    std::deque<Request> failed;
    shared_->state.With([&](State& state) {
      if (--state.threads == 0) failed.swap(state.waiting);
    });
    for (const Request& request : failed) {
      request.done(Fail(Code::kUnavailable, fmt::format("{}: no thread to look it up: {}",
                                                        request.address, error.code().message())));
    }
  }
}

void Resolver::Serve(const std::shared_ptr<Shared>& shared) {
  for (;;) {
    auto request = shared->state.With([](State& state) -> std::optional<Request> {
      if (state.waiting.empty()) {
        --state.threads;
        return std::nullopt;
      }
      Request first = std::move(state.waiting.front());
      state.waiting.pop_front();
      return first;
    });
    if (!request) return;
    const Addresses addresses = shared->look_up(request->address);
    const bool wanted = shared->state.With([](State& state) {
      if (!state.stopped) ++state.telling;
      return !state.stopped;
    });
    if (!wanted) continue;
    request->done(addresses);
    request.reset();
    shared->state.With([](State& state) { --state.telling; });
    shared->state.Notify();
  }
}

}  // namespace sluice::pool
