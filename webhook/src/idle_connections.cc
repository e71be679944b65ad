#include "idle_connections.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include <climits>

namespace sluice::webhook {

Connection::Connection(platform::UniqueFd socket, SSL_CTX* context, int stop_fd,
                       RequestMemory& memory, platform::Gauge& open)
    : socket_(std::move(socket)), stream_(context, socket_.Get(), stop_fd, memory), open_(open) {
  open_.Add(1);
}

Connection::~Connection() { open_.Add(-1); }

IdleConnections::IdleConnections(std::size_t max_count, Handlers handlers)
    : max_count_(max_count),
      handlers_(std::move(handlers)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      set_(::epoll_create1(EPOLL_CLOEXEC)) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  ::epoll_ctl(set_.Get(), EPOLL_CTL_ADD, wake_.Get(), &event);
}

IdleConnections::~IdleConnections() { Stop(); }

void IdleConnections::Start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void IdleConnections::Wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.Get(), &one, sizeof(one));
}

void IdleConnections::Keep(ConnectionPtr connection) {
  Connection& kept = *connection;
  bool stopped = false;
  bool wake = false;
  waiting_.With([&](Waiting& waiting) {
    stopped = waiting.stopped;
    if (stopped) return;
    kept.place = waiting.connections.insert(waiting.connections.end(), connection);
    wake = kept.until < waiting.looks_at || waiting.connections.size() > max_count_;
    // Here, so that the thread cannot close it before.
    epoll_event event{.events = kept.events | EPOLLONESHOT, .data = {.ptr = &kept}};
    const int change = std::exchange(kept.watched, true) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    ::epoll_ctl(set_.Get(), change, kept.Stream().socket(), &event);
  });
  if (stopped) handlers_.close(kept);
  if (wake) Wake();
}

void IdleConnections::Stop() {
  waiting_.With([](Waiting& waiting) { waiting.stopped = true; });
  if (!thread_.joinable()) return;
  thread_.request_stop();
  Wake();
  thread_.join();
}

ConnectionPtr IdleConnections::Take(Connection& connection) {
  return waiting_.With([&](Waiting& waiting) {
    ConnectionPtr taken = std::move(*connection.place);
    waiting.connections.erase(connection.place);
    return taken;
  });
}

void IdleConnections::CloseTooMany(std::size_t max_count) {
  const auto too_many = waiting_.With([&](Waiting& waiting) {
    std::list<ConnectionPtr> longest;
    while (waiting.connections.size() > max_count) {
      longest.splice(longest.end(), waiting.connections, waiting.connections.begin());
    }
    return longest;
  });
  for (const ConnectionPtr& connection : too_many) handlers_.close(*connection);
}

void IdleConnections::CloseOverdue(Clock::time_point now) {
  const auto overdue = waiting_.With([&](Waiting& waiting) {
    std::list<ConnectionPtr> found;
    auto& all = waiting.connections;
    for (auto one = all.begin(); one != all.end();) {
      const auto next = std::next(one);
      if ((*one)->until <= now) found.splice(found.end(), all, one);
      one = next;
    }
    return found;
  });
  for (const ConnectionPtr& connection : overdue) handlers_.close(*connection);
}

void IdleConnections::ChooseNextLook() {
  waiting_.With([](Waiting& waiting) {
    waiting.looks_at = Clock::time_point::max();
    for (const ConnectionPtr& connection : waiting.connections) {
      waiting.looks_at = std::min(waiting.looks_at, connection->until);
    }
  });
}

bool IdleConnections::ResumeReady(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  int limit = static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, INT_MAX));
  bool woken = false;
  Events events{};
  std::size_t ready = events.size();
  for (; ready == events.size(); limit = 0) {
    const int count =
        ::epoll_wait(set_.Get(), events.data(), static_cast<int>(events.size()), limit);
    ready = static_cast<std::size_t>(std::max(count, 0));
    for (std::size_t i = 0; i < ready; ++i) {
      if (events.at(i).data.ptr == nullptr) {
        std::uint64_t wakes = 0;
        [[maybe_unused]] const ssize_t read = ::read(wake_.Get(), &wakes, sizeof(wakes));
        woken = true;
      } else {
        handlers_.resume(Take(*static_cast<Connection*>(events.at(i).data.ptr)));
      }
    }
  }
  return woken;
}

void IdleConnections::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const auto now = Clock::now();
    const auto look = waiting_.With([](const Waiting& waiting) { return waiting.looks_at; });
    // Each is looked at once more before it is closed.
    if (!ResumeReady(look) && now < look) continue;
    CloseTooMany(max_count_);
    CloseOverdue(now);
    ChooseNextLook();
  }
  ResumeReady(Clock::now());
  CloseTooMany(0);
}

}  // namespace sluice::webhook
