// Threads for httplib's connections: made when needed, at most so many. When all are taken,
// accepting waits until one is free, and further clients queue in the kernel.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <httplib.h>

namespace sluice::webhook {

class ConnectionThreads final : public httplib::TaskQueue {
 public:
  // `make_room` is asked to free a thread when all are taken; `stopping` ends the wait for one.
  // Both are called by whoever enqueues.
  ConnectionThreads(std::size_t max_threads, std::function<void()> make_room,
                    std::function<bool()> stopping);
  ~ConnectionThreads() override;

  void enqueue(std::function<void()> task) override;  // NOLINT(readability-identifier-naming)
  // Runs what is queued, then ends all threads.
  void shutdown() override;  // NOLINT(readability-identifier-naming)

 private:
  void Work();
  // Whether nobody is left for another task. The mutex must be held.
  [[nodiscard]] bool AllAreTaken() const;

  const std::size_t max_threads_;
  const std::function<void()> make_room_;
  const std::function<bool()> stopping_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::jthread> threads_;
  std::size_t idle_ = 0;
  bool shut_down_ = false;
};

}  // namespace sluice::webhook
