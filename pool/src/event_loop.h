// One thread that waits for sockets and for points in time, and runs what other threads post.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::pool {

using TimePoint = std::chrono::steady_clock::time_point;

// Threads: Post from any; the rest only from the loop's own thread.
class EventLoop {
 public:
  // What is told of a socket. Events may still come after Forget in the same round: a handler is
  // destroyed by Retire only.
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnReady(std::uint32_t events) = 0;
  };
  // Who has things to do at points in time.
  class Member {
   public:
    virtual ~Member() = default;
    // Does what is due; returns when it wants to be asked again at the latest. Whoever later wants
    // it earlier calls WakeBy.
    virtual TimePoint OnTime(TimePoint now) = 0;
    // The loop ends; the last call.
    virtual void OnStop() = 0;
  };

  // kUnavailable when the process has no descriptor or no thread left.
  static Result<std::unique_ptr<EventLoop>> Start();
  ~EventLoop();  // Stop()
  // Runs what was posted, stops the members, joins; at most once is there anything to do.
  void Stop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // The task is dropped once the loop has ended: members learn of that by OnStop.
  void Post(std::function<void()> task);

  Status Watch(int fd, std::uint32_t events, Handler& handler);
  void Change(int fd, std::uint32_t events, Handler& handler);
  void Forget(int fd);
  void Retire(std::unique_ptr<Handler> handler);  // destroys it after this round
  void Add(std::shared_ptr<Member> member);
  void Remove(const Member& member);
  void WakeBy(TimePoint time);

 private:
  EventLoop(platform::UniqueFd epoll, platform::UniqueFd wake)
      : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  struct Inbox {
    std::vector<std::function<void()>> tasks;
    bool ended = false;
  };
  void Run(const std::stop_token& stop);
  void RunTasks(bool last);
  void TellTime();
  void WaitForSockets();
  void Wake() const;

  const platform::UniqueFd epoll_;
  const platform::UniqueFd wake_;
  platform::Guarded<Inbox> inbox_;
  // The rest belongs to the thread.
  std::vector<std::shared_ptr<Member>> members_;
  std::vector<std::unique_ptr<Handler>> retired_;
  TimePoint next_time_ = TimePoint::max();
  std::jthread thread_;
};

}  // namespace sluice::pool
