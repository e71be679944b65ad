#include "connection_threads.h"

#include <utility>

namespace sluice::webhook {

ConnectionThreads::~ConnectionThreads() { Stop(); }

bool ConnectionThreads::AllAreTaken() const {
  return idle_ <= tasks_.size() && threads_.size() >= max_threads_;
}

void ConnectionThreads::Run(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [this] { return !AllAreTaken() || !waits_; });
  tasks_.push_back(std::move(task));
  if (idle_ < tasks_.size() && threads_.size() < max_threads_) {
    threads_.emplace_back([this] { Work(); });
  }
  lock.unlock();
  work_.notify_one();
}

void ConnectionThreads::StopWaiting() {
  const std::lock_guard lock(mutex_);
  waits_ = false;
  room_.notify_all();
}

bool ConnectionThreads::AreBusy() {
  const std::lock_guard lock(mutex_);
  return !tasks_.empty() || idle_ < threads_.size();
}

void ConnectionThreads::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  work_.notify_all();
  threads_.clear();  // joins
}

void ConnectionThreads::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    room_.notify_one();
    work_.wait(lock, [this] { return !tasks_.empty() || stopped_; });
    --idle_;
    if (tasks_.empty()) return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // may close a connection, for which nobody else shall wait
    lock.lock();
  }
}

}  // namespace sluice::webhook
