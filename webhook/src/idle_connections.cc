#include "idle_connections.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include <climits>

namespace sluice::webhook {

namespace {

// While the server stops it looks so often whether it can end.
constexpr std::chrono::milliseconds kDrainLook{10};

bool IsBetweenRequests(const Connection& connection) {
  return connection.phase == Connection::Phase::kBetweenRequests;
}

}  // namespace

Connection::Connection(platform::UniqueFd socket, SSL_CTX* context, RequestMemory& memory,
                       platform::Gauge& open)
    : socket_(std::move(socket)), stream_(context, socket_.Get(), memory), open_(open) {
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

bool IdleConnections::Waiting::Keeps(const Connection& connection) const {
  return !ended && (!stopped || connection.phase == Connection::Phase::kRequest);
}

void IdleConnections::Keep(ConnectionPtr connection) {
  Connection& kept = *connection;
  bool keeps = false;
  bool wake = false;
  waiting_.With([&](Waiting& waiting) {
    keeps = waiting.Keeps(kept);
    if (!keeps) return;
    kept.place = waiting.connections.insert(waiting.connections.end(), connection);
    wake = kept.until < waiting.looks_at || waiting.connections.size() > max_count_;
    // Here, so that the thread cannot close it before.
    epoll_event event{.events = kept.events | EPOLLONESHOT, .data = {.ptr = &kept}};
    const int change = std::exchange(kept.watched, true) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    ::epoll_ctl(set_.Get(), change, kept.Stream().socket(), &event);
  });
  if (!keeps) handlers_.close(kept);
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

void IdleConnections::CloseTooMany() {
  const auto too_many = waiting_.With([&](Waiting& waiting) {
    auto& all = waiting.connections;
    std::list<ConnectionPtr> found;
    auto between = static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [](const auto& one) { return IsBetweenRequests(*one); }));
    while (all.size() > max_count_) {
      const bool takes_between = between > all.size() - between;
      const auto longest =
          std::min_element(all.begin(), all.end(), [&](const auto& a, const auto& b) {
            return std::pair(IsBetweenRequests(*a) != takes_between, a->since) <
                   std::pair(IsBetweenRequests(*b) != takes_between, b->since);
          });
      if (takes_between) --between;
      found.splice(found.end(), all, longest);
    }
    return found;
  });
  for (const ConnectionPtr& connection : too_many) handlers_.close(*connection);
}

void IdleConnections::CloseIf(const std::function<bool(const Connection&)>& condition) {
  const auto closed = waiting_.With([&](Waiting& waiting) {
    std::list<ConnectionPtr> found;
    auto& all = waiting.connections;
    for (auto one = all.begin(); one != all.end();) {
      const auto next = std::next(one);
      if (condition(**one)) found.splice(found.end(), all, one);
      one = next;
    }
    return found;
  });
  for (const ConnectionPtr& connection : closed) handlers_.close(*connection);
}

void IdleConnections::CloseOverdue(Clock::time_point now) {
  CloseIf([&](const Connection& connection) { return connection.until <= now; });
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
    CloseTooMany();
    CloseOverdue(now);
    ChooseNextLook();
  }
  Drain();
}

void IdleConnections::Drain() {
  ResumeReady(Clock::now());
  CloseIf([](const Connection& one) { return one.phase != Connection::Phase::kRequest; });
  while (true) {
    // First, so that whoever is back then is seen as one that waits.
    const bool expects_more = handlers_.expects_more();
    const bool ends = waiting_.With([&](Waiting& waiting) {
      waiting.ended = !expects_more && waiting.connections.empty();
      return waiting.ended;
    });
    if (ends) return;
    const auto now = Clock::now();
    ResumeReady(now + kDrainLook);
    CloseOverdue(now);
  }
}

}  // namespace sluice::webhook
