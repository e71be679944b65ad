// Threads for what connections ask for: made when needed, at most so many. When all are taken,
// accepting waits until one is free, and further clients queue in the kernel.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sluice::webhook {

// Threads: any.
class ConnectionThreads {
 public:
  explicit ConnectionThreads(std::size_t max_threads) : max_threads_(max_threads) {}
  ~ConnectionThreads();  // stops
  ConnectionThreads(const ConnectionThreads&) = delete;
  ConnectionThreads& operator=(const ConnectionThreads&) = delete;

  // Runs the task on a thread. Waits until one is free, unless StopWaiting was called: then the
  // task is queued.
  void Run(std::function<void()> task);
  void StopWaiting();
  // Whether a task runs or is queued.
  [[nodiscard]] bool AreBusy();
  // Runs what is queued, then ends all threads. Nobody may call Run any more.
  void Stop();

 private:
  void Work();
  // Whether nobody is left for another task. The mutex must be held.
  [[nodiscard]] bool AllAreTaken() const;

  const std::size_t max_threads_;
  std::mutex mutex_;
  // Apart, so that a task wakes one thread and not all that have nothing to do.
  std::condition_variable work_;  // a task has come, or Stop
  std::condition_variable room_;  // a thread has become free, or StopWaiting
  std::deque<std::function<void()>> tasks_;
  std::vector<std::jthread> threads_;
  std::size_t idle_ = 0;
  bool waits_ = true;
  bool stopped_ = false;
};

}  // namespace sluice::webhook
