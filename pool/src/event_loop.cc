#include "event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace sluice::pool {
namespace {

constexpr std::chrono::milliseconds kLongestWait{60'000};

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::Start() {
  const auto failed = [](std::string_view what, const std::error_code& error) {
    return Fail(Code::kUnavailable, fmt::format("event loop: {}: {}", what, error.message()));
  };
  const auto last = [] { return std::error_code(errno, std::generic_category()); };
  platform::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.Valid()) return failed("epoll_create1", last());
  platform::UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.Valid()) return failed("eventfd", last());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // the wake-up
  if (::epoll_ctl(epoll.Get(), EPOLL_CTL_ADD, wake.Get(), &event) != 0) {
    return failed("epoll_ctl", last());
  }
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wake)));
  try {
    loop->thread_ = std::jthread([&one = *loop](const std::stop_token& stop) { one.Run(stop); });
  } catch (const std::system_error& error) {
    return failed("start a thread", error.code());
  }
  return loop;
}

EventLoop::~EventLoop() { Stop(); }

void EventLoop::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  Wake();
  thread_.join();
}

void EventLoop::Wake() const {
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then the thread is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_.Get(), &one, sizeof(one));
}

void EventLoop::Post(std::function<void()> task) {
  const bool first = inbox_.With([&](Inbox& inbox) {
    if (inbox.ended) return false;
    inbox.tasks.push_back(std::move(task));
    return inbox.tasks.size() == 1;
  });
  if (first) Wake();
}

Status EventLoop::Watch(int fd, std::uint32_t events, Handler& handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  if (::epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, fd, &event) == 0) return Ok();
  return Fail(Code::kInternal,
              fmt::format("watch a socket: {}", std::generic_category().message(errno)));
}

void EventLoop::Change(int fd, std::uint32_t events, Handler& handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  ::epoll_ctl(epoll_.Get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::Forget(int fd) { ::epoll_ctl(epoll_.Get(), EPOLL_CTL_DEL, fd, nullptr); }

void EventLoop::Retire(std::unique_ptr<Handler> handler) { retired_.push_back(std::move(handler)); }

void EventLoop::Add(std::shared_ptr<Member> member) {
  members_.push_back(std::move(member));
  WakeBy(TimePoint::min());
}

void EventLoop::Remove(const Member& member) {
  std::erase_if(members_, [&](const auto& other) { return other.get() == &member; });
}

void EventLoop::WakeBy(TimePoint time) { next_time_ = std::min(next_time_, time); }

void EventLoop::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    RunTasks(false);
    TellTime();
    retired_.clear();
    WaitForSockets();
    retired_.clear();
  }
  RunTasks(true);
  for (const auto& member : members_) member->OnStop();
  members_.clear();
  retired_.clear();
}

void EventLoop::RunTasks(bool last) {
  const auto tasks = inbox_.With([&](Inbox& inbox) {
    inbox.ended = last;
    return std::exchange(inbox.tasks, {});
  });
  for (const auto& task : tasks) task();
}

void EventLoop::TellTime() {
  const TimePoint now = std::chrono::steady_clock::now();
  if (now < next_time_) return;
  next_time_ = TimePoint::max();
  const auto members = members_;  // they may leave
  for (const auto& member : members) WakeBy(member->OnTime(now));
}

void EventLoop::WaitForSockets() {
  const TimePoint now = std::chrono::steady_clock::now();
  auto wait = std::chrono::milliseconds(0);
  if (next_time_ > now) {
    // Rounded up, or the loop would turn without a pause in the last millisecond.
    wait = next_time_ - now > kLongestWait
               ? kLongestWait
               : std::chrono::ceil<std::chrono::milliseconds>(next_time_ - now);
  }
  std::array<epoll_event, 64> events{};
  const int count = ::epoll_wait(epoll_.Get(), events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(wait.count()));
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events.at(static_cast<std::size_t>(i));
    if (event.data.ptr == nullptr) {
      std::uint64_t ignored = 0;
      [[maybe_unused]] const ssize_t got = ::read(wake_.Get(), &ignored, sizeof(ignored));
      continue;
    }
    static_cast<Handler*>(event.data.ptr)->OnReady(event.events);
  }
}

}  // namespace sluice::pool
