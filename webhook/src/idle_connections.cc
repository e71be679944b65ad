#include "idle_connections.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include <climits>

namespace sluice::webhook {

Connection::Connection(platform::UniqueFd socket, SSL_CTX* context, int stop_fd,
                       platform::Gauge& open)
    : socket_(std::move(socket)), stream_(context, socket_.Get(), stop_fd), open_(open) {
  open_.Add(1);
}

Connection::~Connection() { open_.Add(-1); }

IdleConnections::IdleConnections(std::size_t max_count, Handlers handlers)
    : max_count_(max_count),
      handlers_(std::move(handlers)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

IdleConnections::~IdleConnections() { Stop(); }

void IdleConnections::Start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void IdleConnections::Wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.Get(), &one, sizeof(one));
}

void IdleConnections::Keep(ConnectionPtr connection) {
  const bool kept = arrivals_.With([&](Arrivals& arrivals) {
    if (!arrivals.stopped) arrivals.connections.push_back(connection);
    return !arrivals.stopped;
  });
  if (kept) {
    Wake();
  } else {
    handlers_.close(*connection);
  }
}

void IdleConnections::Stop() {
  arrivals_.With([](Arrivals& arrivals) { arrivals.stopped = true; });
  if (!thread_.joinable()) return;
  thread_.request_stop();
  Wake();
  thread_.join();
}

void IdleConnections::TakeArrivals() {
  auto arrived =
      arrivals_.With([](Arrivals& arrivals) { return std::exchange(arrivals.connections, {}); });
  std::move(arrived.begin(), arrived.end(), std::back_inserter(waiting_));
}

void IdleConnections::CloseFront() {
  handlers_.close(*waiting_.front());
  waiting_.pop_front();
}

void IdleConnections::CloseOverdue(Clock::time_point now) {
  waiting_.remove_if([&](const ConnectionPtr& connection) {
    if (connection->until > now) return false;
    handlers_.close(*connection);
    return true;
  });
}

IdleConnections::Clock::time_point IdleConnections::NextDeadline() const {
  auto next = Clock::now() + std::chrono::hours(1);
  for (const ConnectionPtr& connection : waiting_) next = std::min(next, connection->until);
  return next;
}

void IdleConnections::ResumeReady(Clock::time_point deadline) {
  std::vector<pollfd> fds{{wake_.Get(), POLLIN, 0}};
  for (const ConnectionPtr& one : waiting_) {
    fds.push_back({one->Stream().socket(), one->events, 0});
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  const int limit = static_cast<int>(std::clamp<std::int64_t>(left, 0, INT_MAX));
  if (::poll(fds.data(), fds.size(), limit) <= 0) return;
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t read = ::read(wake_.Get(), &count, sizeof(count));
  auto one = waiting_.begin();
  for (auto fd = fds.begin() + 1; fd != fds.end(); ++fd) {
    const auto next = std::next(one);
    if (fd->revents != 0) {
      ConnectionPtr ready = std::move(*one);
      waiting_.erase(one);
      handlers_.resume(std::move(ready));
    }
    one = next;
  }
}

void IdleConnections::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    TakeArrivals();
    // Each is looked at once more before it is closed.
    const auto now = Clock::now();
    ResumeReady(waiting_.size() > max_count_ ? now : NextDeadline());
    while (waiting_.size() > max_count_) CloseFront();
    CloseOverdue(now);
  }
  TakeArrivals();
  ResumeReady(Clock::now());
  while (!waiting_.empty()) CloseFront();
}

}  // namespace sluice::webhook
