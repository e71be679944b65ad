// A TCP proxy that behaves like a slower network, for kernels without netem: one rate for all
// connections together, optionally one per connection, and half a round trip of delay each way.
//
//   throttle-proxy --listen 127.0.0.1:0 --upstream 127.0.0.1:9000 --profile lan
//
// Prints the port it listens on; ends on SIGTERM or SIGINT. MB are 10^6 bytes. Not modelled: loss
// and TCP's slow start. A new connection's first bytes pay one more round trip, as the handshake
// would.
//
// Bytes are read only when the virtual clocks of the link and of the connection allow it (they may
// run ahead by a millisecond or two, so nothing piles up in front of a small request), connections
// take turns, and what was read is written when its delay is over.

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

namespace {

using sluice::Code;
using sluice::Fail;
using sluice::Result;
using sluice::platform::UniqueFd;
using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr std::size_t kChunk = 64U << 10;
constexpr nanoseconds kAhead = std::chrono::milliseconds(1);  // how far a clock may run ahead
// Under load the proxy looks around no oftener than the link carries a chunk, within these: fewer,
// larger reads and writes.
constexpr nanoseconds kShortestTick = std::chrono::microseconds(250);
constexpr nanoseconds kLongestTick = std::chrono::milliseconds(1);
constexpr std::size_t kMinWindow = 1U << 20;  // bytes under way per direction, at least

struct Settings {
  std::string listen = "127.0.0.1:0";
  std::string upstream;
  double rate_mb = 250;
  double per_connection_mb = 0;  // 0: no limit
  double rtt_ms = 2;
};

// Gives each byte its time on a link of a certain rate.
class LinkClock {
 public:
  explicit LinkClock(double bytes_per_second)
      : per_byte_(bytes_per_second > 0 ? 1e9 / bytes_per_second : 0) {}
  [[nodiscard]] Clock::time_point FreeAt() const { return next_; }
  [[nodiscard]] bool Allows(Clock::time_point now) const { return next_ <= now + kAhead; }
  void Advance(Clock::time_point now, std::size_t bytes) {
    next_ = std::max(next_, now) +
            nanoseconds(static_cast<std::int64_t>(per_byte_ * static_cast<double>(bytes)));
  }

 private:
  double per_byte_;
  Clock::time_point next_{};
};

using Buffer = std::unique_ptr<std::array<char, kChunk>>;

struct Piece {
  Clock::time_point due;
  Buffer buffer;
  std::size_t size = 0;
  std::size_t written = 0;
};

// One way of a connection.
struct Direction {
  int from = -1;
  int to = -1;
  LinkClock* own = nullptr;
  std::deque<Piece> pieces;
  std::size_t queued = 0;
  bool readable = false;  // edge-triggered: true until a read would block
  bool writable = true;
  bool source_ended = false;
  bool closed = false;  // the end was passed on
  Clock::time_point not_before{};
};

struct Connection {
  UniqueFd client;
  UniqueFd server;
  LinkClock clock;
  Direction up;    // client to server
  Direction down;  // server to client
  bool dead = false;

  explicit Connection(double rate) : clock(rate) {}
};

// What an epoll event belongs to.
struct Endpoint {
  Connection* connection = nullptr;
  bool is_client = false;
};

Result<sockaddr_storage> Resolve(const std::string& address, socklen_t& length) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Fail(Code::kInvalidArgument, address + ": want HOST:PORT");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int rc = ::getaddrinfo(address.substr(0, colon).c_str(),
                                   address.substr(colon + 1).c_str(), &hints, &found);
      rc != 0) {
    return Fail(Code::kInvalidArgument, address + ": " + ::gai_strerror(rc));
  }
  sockaddr_storage out{};
  std::memcpy(&out, found->ai_addr, found->ai_addrlen);
  length = found->ai_addrlen;
  ::freeaddrinfo(found);
  return out;
}

class Proxy {
 public:
  explicit Proxy(const Settings& settings)
      : settings_(settings),
        link_(settings.rate_mb * 1e6),
        delay_(static_cast<std::int64_t>(settings.rtt_ms * 1e6 / 2)),
        window_(std::max(kMinWindow,
                         static_cast<std::size_t>(settings.rate_mb * 1e6 * settings.rtt_ms / 1e3))),
        tick_(std::clamp(nanoseconds(static_cast<std::int64_t>(kChunk * 1e3 / settings.rate_mb)),
                         kShortestTick, kLongestTick)) {}

  Result<int> Listen();
  int Run();

 private:
  void Accept();
  void HandleEvent(const epoll_event& event);
  // Reads what the clocks allow, connection by connection.
  void ReadInTurns(Clock::time_point now);
  bool ReadOnce(Direction& direction, Clock::time_point now);
  void WriteWhatIsDue(Direction& direction, Clock::time_point now);
  [[nodiscard]] bool MayRead(const Direction& direction) const {
    return direction.readable && !direction.source_ended && direction.queued < window_;
  }
  [[nodiscard]] Clock::time_point NextWork(Clock::time_point now) const;
  void Watch(int fd, Endpoint* endpoint);
  void Sweep();

  const Settings settings_;
  LinkClock link_;
  const nanoseconds delay_;
  const std::size_t window_;
  const nanoseconds tick_;
  UniqueFd epoll_;
  UniqueFd listener_;
  UniqueFd signals_;
  sockaddr_storage upstream_{};
  socklen_t upstream_length_ = 0;
  std::list<std::unique_ptr<Connection>> connections_;
  std::list<Endpoint> endpoints_;
  std::vector<Buffer> spare_;
};

Result<int> Proxy::Listen() {
  auto upstream = Resolve(settings_.upstream, upstream_length_);
  if (!upstream) return Fail(upstream.error());
  upstream_ = *upstream;
  socklen_t length = 0;
  auto address = Resolve(settings_.listen, length);
  if (!address) return Fail(address.error());
  listener_ = UniqueFd(::socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listener_.Get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(listener_.Get(), reinterpret_cast<sockaddr*>(&*address), length) != 0 ||
      ::listen(listener_.Get(), 512) != 0) {
    return Fail(Code::kUnavailable,
                settings_.listen + ": " + std::generic_category().message(errno));
  }
  sockaddr_storage bound{};
  length = sizeof(bound);
  ::getsockname(listener_.Get(), reinterpret_cast<sockaddr*>(&bound), &length);
  const auto port = bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                                : reinterpret_cast<sockaddr_in*>(&bound)->sin_port;

  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigprocmask(SIG_BLOCK, &mask, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = UniqueFd(::signalfd(-1, &mask, SFD_CLOEXEC));
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  for (const int fd : {listener_.Get(), signals_.Get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = fd == listener_.Get() ? static_cast<void*>(&listener_) : &signals_;
    ::epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, fd, &event);
  }
  return ntohs(port);
}

void Proxy::Watch(int fd, Endpoint* endpoint) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = endpoint;
  ::epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, fd, &event);
}

void Proxy::Accept() {
  while (true) {
    UniqueFd client(::accept4(listener_.Get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client.Valid()) return;
    UniqueFd server(::socket(upstream_.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (::connect(server.Get(), reinterpret_cast<sockaddr*>(&upstream_), upstream_length_) != 0 &&
        errno != EINPROGRESS) {
      continue;  // the client sees its connection close
    }
    const int on = 1;
    ::setsockopt(client.Get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(server.Get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    auto connection = std::make_unique<Connection>(settings_.per_connection_mb * 1e6);
    connection->client = std::move(client);
    connection->server = std::move(server);
    connection->up.from = connection->down.to = connection->client.Get();
    connection->up.to = connection->down.from = connection->server.Get();
    connection->up.own = connection->down.own = &connection->clock;
    connection->up.not_before = Clock::now() + 2 * delay_;
    endpoints_.push_back({connection.get(), true});
    Watch(connection->client.Get(), &endpoints_.back());
    endpoints_.push_back({connection.get(), false});
    Watch(connection->server.Get(), &endpoints_.back());
    connections_.push_back(std::move(connection));
  }
}

void Proxy::HandleEvent(const epoll_event& event) {
  const auto& endpoint = *static_cast<Endpoint*>(event.data.ptr);
  Connection& connection = *endpoint.connection;
  Direction& from_here = endpoint.is_client ? connection.up : connection.down;
  Direction& to_here = endpoint.is_client ? connection.down : connection.up;
  if ((event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) from_here.readable = true;
  if ((event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) to_here.writable = true;
  if ((event.events & EPOLLERR) != 0) connection.dead = true;
}

bool Proxy::ReadOnce(Direction& direction, Clock::time_point now) {
  Buffer buffer;
  if (spare_.empty()) {
    buffer.reset(new std::array<char, kChunk>);  // not zeroed
  } else {
    buffer = std::move(spare_.back());
    spare_.pop_back();
  }
  const ssize_t got = ::read(direction.from, buffer->data(), buffer->size());
  if (got <= 0) {
    spare_.push_back(std::move(buffer));
    if (got < 0 && errno == EINTR) return true;
    direction.readable = false;
    if (got == 0 || errno != EAGAIN) direction.source_ended = true;
    return false;
  }
  const auto size = static_cast<std::size_t>(got);
  link_.Advance(now, size);
  direction.own->Advance(now, size);
  const auto sent = std::max({link_.FreeAt(), direction.own->FreeAt(), direction.not_before});
  direction.queued += size;
  direction.pieces.push_back({sent + delay_, std::move(buffer), size, 0});
  return true;
}

void Proxy::ReadInTurns(Clock::time_point now) {
  bool any = true;
  while (any && link_.Allows(now)) {
    any = false;
    for (auto& connection : connections_) {
      for (Direction* direction : {&connection->up, &connection->down}) {
        if (!MayRead(*direction) || !direction->own->Allows(now) || !link_.Allows(now)) continue;
        any = ReadOnce(*direction, now) || any;
      }
    }
    // Who was first is last next time.
    if (connections_.size() > 1) {
      connections_.splice(connections_.end(), connections_, connections_.begin());
    }
  }
}

void Proxy::WriteWhatIsDue(Direction& direction, Clock::time_point now) {
  while (direction.writable && !direction.pieces.empty() && direction.pieces.front().due <= now) {
    Piece& piece = direction.pieces.front();
    const ssize_t put =
        ::write(direction.to, piece.buffer->data() + piece.written, piece.size - piece.written);
    if (put < 0) {
      if (errno == EINTR) continue;
      direction.writable = false;
      if (errno != EAGAIN && errno != ENOTCONN) direction.closed = true;
      return;
    }
    piece.written += static_cast<std::size_t>(put);
    direction.queued -= static_cast<std::size_t>(put);
    if (piece.written < piece.size) continue;
    if (spare_.size() < 256) spare_.push_back(std::move(piece.buffer));
    direction.pieces.pop_front();
  }
  if (direction.source_ended && direction.pieces.empty() && !direction.closed) {
    ::shutdown(direction.to, SHUT_WR);
    direction.closed = true;
  }
}

void Proxy::Sweep() {
  for (auto it = connections_.begin(); it != connections_.end();) {
    const Connection& connection = **it;
    const bool done = connection.up.closed && connection.down.closed;
    // A peer that reset, or went away while the other side still sends.
    const bool broken = connection.dead || (connection.up.closed && !connection.up.source_ended) ||
                        (connection.down.closed && !connection.down.source_ended);
    if (!done && !broken) {
      ++it;
      continue;
    }
    std::erase_if(endpoints_, [&](const Endpoint& e) { return e.connection == &connection; });
    it = connections_.erase(it);
  }
}

Clock::time_point Proxy::NextWork(Clock::time_point now) const {
  Clock::time_point next = now + std::chrono::seconds(1);
  for (const auto& connection : connections_) {
    for (const Direction* direction : {&connection->up, &connection->down}) {
      if (direction->writable && !direction->pieces.empty()) {
        next = std::min(next, direction->pieces.front().due);
      }
      if (MayRead(*direction)) {
        const auto allowed = std::max(link_.FreeAt(), direction->own->FreeAt()) - kAhead;
        next = std::min(next, allowed);
      }
    }
  }
  return next;
}

int Proxy::Run() {
  std::array<epoll_event, 128> events{};
  Clock::time_point next = Clock::now();
  Clock::time_point looked{};
  while (true) {
    const nanoseconds rest = looked + tick_ - Clock::now();
    if (rest > nanoseconds(0)) std::this_thread::sleep_for(rest);
    const auto wait = std::max(nanoseconds(0), nanoseconds(next - Clock::now()));
    const timespec timeout{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
    const int count = ::epoll_pwait2(epoll_.Get(), events.data(), events.size(), &timeout, nullptr);
    bool accept = false;
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events.at(static_cast<std::size_t>(i));
      if (event.data.ptr == &signals_) return 0;
      if (event.data.ptr == &listener_) {
        accept = true;
      } else {
        HandleEvent(event);
      }
    }
    if (accept) Accept();
    const auto now = looked = Clock::now();
    ReadInTurns(now);
    for (auto& connection : connections_) {
      WriteWhatIsDue(connection->up, now);
      WriteWhatIsDue(connection->down, now);
    }
    Sweep();
    next = NextWork(now);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::string profile;
  CLI::App app{"A TCP proxy that behaves like a slower network"};
  app.add_option("--listen", settings.listen, "HOST:PORT; port 0 picks one")->capture_default_str();
  app.add_option("--upstream", settings.upstream, "HOST:PORT")->required();
  auto* rate = app.add_option("--rate-mb", settings.rate_mb, "MB/s of all connections together");
  auto* rtt = app.add_option("--rtt-ms", settings.rtt_ms, "round trip in milliseconds");
  auto* own = app.add_option("--per-connection-mb", settings.per_connection_mb,
                             "MB/s of each connection; 0: no limit");
  app.add_option("--profile", profile,
                 "lan: 250 MB/s, 2 ms; object-store: 250 MB/s, 20 ms, 60 each")
      ->check(CLI::IsMember({"lan", "object-store"}))
      ->excludes(rate)
      ->excludes(rtt)
      ->excludes(own);
  CLI11_PARSE(app, argc, argv);
  if (profile == "object-store") {
    settings.rtt_ms = 20;
    settings.per_connection_mb = 60;
  }
  if (settings.rate_mb <= 0 || settings.rtt_ms < 0 || settings.per_connection_mb < 0) {
    std::fprintf(stderr, "throttle-proxy: rates and times must not be negative\n");
    return 2;
  }
  Proxy proxy(settings);
  const auto port = proxy.Listen();
  if (!port) {
    std::fprintf(stderr, "throttle-proxy: %s\n", port.error().message.c_str());
    return 1;
  }
  std::printf("%d\n", *port);
  std::fflush(stdout);
  return proxy.Run();
}
