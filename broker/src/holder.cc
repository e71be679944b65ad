#include "sluice/broker/holder.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "sluice/platform/guarded.h"
#include "sluice/platform/pause.h"

#include "connection.h"

namespace sluice::broker {
namespace {

constexpr std::uint64_t kWakeToken = 0;
constexpr std::chrono::milliseconds kNoRoomPause{200};

ConnectionCounters MakeCounters(platform::Metrics& metrics) {
  return {
      .handovers =
          metrics.AddCounter("sluice_broker_handovers_total", "Descriptors handed to a client"),
      .deposits = metrics.AddCounter("sluice_broker_deposits_total",
                                     "Descriptors given back after a restart of the holder"),
      .refused = metrics.AddCounter("sluice_broker_refused_total", "Clients turned away"),
      .malformed = metrics.AddCounter("sluice_broker_malformed_total",
                                      "Sockets closed because of a malformed message"),
      .failures =
          metrics.AddCounter("sluice_broker_client_failures_total", "Failures clients reported"),
      .backing_opens = metrics.AddCounter("sluice_broker_backing_opens_total",
                                          "Backing files registered for passthrough"),
  };
}

Error NoConnection(const std::string& id) {
  return {Code::kNotFound, fmt::format("no FUSE connection '{}'", id)};
}

}  // namespace

struct Holder::Impl {
  struct Endpoint {
    Connection* connection = nullptr;
    bool listener = false;
  };
  struct State {
    std::map<std::string, std::unique_ptr<Connection>> connections;
    std::map<std::uint64_t, Endpoint> endpoints;
    std::uint64_t next_token = kWakeToken + 1;
  };

  Impl(platform::Log log_in, platform::Metrics& metrics)
      : log(std::move(log_in)), counters(MakeCounters(metrics)) {}

  void Watch(int fd, std::uint64_t token) const {
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = token;
    ::epoll_ctl(epoll.Get(), EPOLL_CTL_ADD, fd, &event);
  }

  void Run(const std::stop_token& stop) {
    std::array<epoll_event, 32> events = {};
    while (!stop.stop_requested()) {
      const int n = ::epoll_wait(epoll.Get(), events.data(), static_cast<int>(events.size()), -1);
      if (n < 0 && errno != EINTR) {
        log.Error("holder stopped", {{"error", std::strerror(errno)}});
        return;
      }
      bool no_room = false;
      for (int i = 0; i < n; ++i) {
        if (!Dispatch(events[static_cast<std::size_t>(i)].data.u64)) no_room = true;
      }
      if (no_room && !told_no_room) {
        log.Error("no descriptor for a client, it has to wait", {{"error", std::strerror(EMFILE)}});
      }
      told_no_room = no_room;
      // Its listener stays readable, so the next wait would end at once.
      if (no_room) platform::Pause(stop, kNoRoomPause);
    }
  }

  // False when a client has to wait because this process can have no further descriptor.
  bool Dispatch(std::uint64_t token) {
    if (token == kWakeToken) return true;
    bool room = true;
    Deferred deferred;
    // Every call inside is non-blocking: a client can't hold the lock.
    state.With([&](State& s) {
      const auto found = s.endpoints.find(token);
      if (found == s.endpoints.end()) return;
      if (found->second.listener) {
        room = AcceptOne(s, *found->second.connection, deferred);
      } else if (!found->second.connection->HandleInput(token, deferred)) {
        s.endpoints.erase(token);
      }
    });
    state.Notify();
    for (const auto& action : deferred) action();
    return room;
  }

  bool AcceptOne(State& s, Connection& connection, Deferred& deferred) const {
    const std::uint64_t token = s.next_token++;
    int fd = -1;
    const Connection::Arrival arrival = connection.Accept(token, &fd, deferred);
    if (arrival == Connection::Arrival::kClient) {
      s.endpoints[token] = {&connection, false};
      Watch(fd, token);
    }
    return arrival != Connection::Arrival::kNoRoom;
  }

  platform::Log log;
  ConnectionCounters counters;
  platform::UniqueFd epoll;
  platform::UniqueFd wake;
  mutable platform::Guarded<State> state;
  bool told_no_room = false;  // of the thread
  std::jthread thread;
};

Holder::Holder(platform::Log log, platform::Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::move(log), metrics)) {}

Holder::~Holder() {
  if (!impl_->thread.joinable()) return;
  impl_->thread.request_stop();
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(impl_->wake.Get(), &one, sizeof(one));
  impl_->thread.join();
}

Status Holder::Start() {
  impl_->epoll = platform::UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  impl_->wake = platform::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl_->epoll.Valid() || !impl_->wake.Valid()) {
    return Fail(Code::kInternal, fmt::format("start the holder: {}", std::strerror(errno)));
  }
  impl_->Watch(impl_->wake.Get(), kWakeToken);
  impl_->thread =
      std::jthread([impl = impl_.get()](const std::stop_token& stop) { impl->Run(stop); });
  return Ok();
}

Status Holder::Add(ConnectionSpec spec) {
  const std::string id = spec.id;
  return impl_->state.With([&](Impl::State& s) -> Status {
    if (s.connections.contains(id)) {
      return Fail(Code::kAlreadyExists, fmt::format("FUSE connection '{}' is there already", id));
    }
    auto connection = std::make_unique<Connection>(std::move(spec), impl_->log, impl_->counters);
    SLUICE_CHECK(connection->Open(), fmt::format("add FUSE connection '{}'", id));
    const std::uint64_t token = s.next_token++;
    s.endpoints[token] = {connection.get(), true};
    impl_->Watch(connection->Listener(), token);
    s.connections[id] = std::move(connection);
    return Ok();
  });
}

Status Holder::Remove(const std::string& id) {
  const Status removed = impl_->state.With([&](Impl::State& s) -> Status {
    const auto found = s.connections.find(id);
    if (found == s.connections.end()) return Fail(NoConnection(id));
    std::erase_if(s.endpoints, [&](const auto& endpoint) {
      return endpoint.second.connection == found->second.get();
    });
    s.connections.erase(found);
    return Ok();
  });
  impl_->state.Notify();
  return removed;
}

Result<ConnectionStatus> Holder::Get(const std::string& id) const {
  return impl_->state.With([&](const Impl::State& s) -> Result<ConnectionStatus> {
    const auto found = s.connections.find(id);
    if (found == s.connections.end()) return Fail(NoConnection(id));
    return found->second->Describe();
  });
}

Status Holder::WaitReady(const std::string& id, std::chrono::steady_clock::time_point deadline) {
  impl_->state.WaitUntil(deadline, [&](const Impl::State& s) {
    const auto found = s.connections.find(id);
    return found == s.connections.end() || found->second->Describe().ready;
  });
  SLUICE_TRY(status, Get(id), "wait for the FUSE client");
  if (status.ready) return Ok();
  if (status.last_error.empty()) {
    return Fail(Code::kDeadlineExceeded,
                fmt::format("the FUSE client of '{}' was not ready in time", id));
  }
  return Fail(status.last_error_code, status.last_error);
}

}  // namespace sluice::broker
