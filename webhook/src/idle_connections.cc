#include "idle_connections.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include <climits>

namespace sluice::webhook {

Connection::Connection(platform::UniqueFd socket, SSL_CTX* context, int stop_fd,
                       platform::Gauge& open)
    : socket_(std::move(socket)), stream_(context, socket_.Get(), stop_fd), open_(open) {
  open_.Add(1);
}

Connection::~Connection() { open_.Add(-1); }

IdleConnections::IdleConnections(IdleLimits limits, std::function<void(ConnectionPtr)> resume)
    : limits_(limits),
      resume_(std::move(resume)),
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
    connection->Stream().Goodbye();
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
  const auto until = Clock::now() + limits_.time;
  for (ConnectionPtr& connection :
       arrivals_.With([](Arrivals& arrivals) { return std::exchange(arrivals.connections, {}); })) {
    waiting_.push_back({.connection = std::move(connection), .until = until});
  }
}

void IdleConnections::CloseFront() {
  waiting_.front().connection->Stream().Goodbye();
  waiting_.pop_front();
}

void IdleConnections::ResumeReadable(Clock::time_point deadline) {
  std::vector<pollfd> fds{{wake_.Get(), POLLIN, 0}};
  for (const Waiting& one : waiting_) {
    fds.push_back({one.connection->Stream().socket(), POLLIN, 0});
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
      ConnectionPtr ready = std::move(one->connection);
      waiting_.erase(one);
      resume_(std::move(ready));
    }
    one = next;
  }
}

void IdleConnections::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    TakeArrivals();
    const bool crowded = waiting_.size() > limits_.count;
    // Each is looked at once more before any is closed.
    const auto now = Clock::now();
    const auto limit = waiting_.empty() ? Clock::time_point::max() : waiting_.front().until;
    ResumeReadable(crowded ? now : std::min(limit, now + std::chrono::hours(1)));
    while (waiting_.size() > limits_.count) CloseFront();
    while (!waiting_.empty() && waiting_.front().until <= Clock::now()) CloseFront();
  }
  TakeArrivals();
  ResumeReadable(Clock::now());
  while (!waiting_.empty()) CloseFront();
}

}  // namespace sluice::webhook
