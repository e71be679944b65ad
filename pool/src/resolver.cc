#include "resolver.h"

#include <netdb.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace sluice::pool {
namespace {

constexpr std::size_t kMostAddresses = 4;

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

Resolver::Resolver() {
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void Resolver::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Resolver::Resolve(std::string address, std::function<void(Addresses)> done) {
  requests_.With([&](std::deque<Request>& requests) {
    requests.push_back({std::move(address), std::move(done)});
  });
  requests_.Notify();
}

void Resolver::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const auto later = std::chrono::steady_clock::now() + std::chrono::hours(1);
    requests_.WaitUntil(later, stop, [](const auto& requests) { return !requests.empty(); });
    if (stop.stop_requested()) return;
    auto request = requests_.With([](std::deque<Request>& requests) -> std::optional<Request> {
      if (requests.empty()) return std::nullopt;
      Request first = std::move(requests.front());
      requests.pop_front();
      return first;
    });
    if (request) request->done(LookUp(request->address, AI_ADDRCONFIG));
  }
}

}  // namespace sluice::pool
