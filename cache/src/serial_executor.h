// One thread that runs tasks in the order in which they were posted.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "sluice/platform/guarded.h"

namespace sluice::cache {

// The queue is bounded by its users: each task stands for a read or a buffer that exists already.
// Threads: any may post; Start and Stop once each, by the owner.
class SerialExecutor {
 public:
  using Task = std::function<void()>;

  void Start();
  // Runs what was posted and joins. Later posts are refused.
  void Stop();
  // False (and the task is not run) before Start and after Stop.
  bool Post(Task task);

 private:
  struct State {
    std::deque<Task> tasks;
    bool open = false;
  };

  void Run();

  platform::Guarded<State> state_;
  std::jthread thread_;
};

}  // namespace sluice::cache
