#include "connection_threads.h"

#include <chrono>
#include <utility>

namespace sluice::webhook {

ConnectionThreads::ConnectionThreads(std::size_t max_threads, std::function<void()> make_room,
                                     std::function<bool()> stopping)
    : max_threads_(max_threads), make_room_(std::move(make_room)), stopping_(std::move(stopping)) {}

ConnectionThreads::~ConnectionThreads() { shutdown(); }

bool ConnectionThreads::AllAreTaken() const {
  return idle_ <= tasks_.size() && threads_.size() >= max_threads_;
}

void ConnectionThreads::enqueue(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  // A task owns its socket, so it is never dropped: when the server stops it is queued and ends at
  // once.
  while (AllAreTaken() && !stopping_()) {
    lock.unlock();
    make_room_();
    lock.lock();
    // Asked again now and then: a connection that was busy may be idle by now.
    if (AllAreTaken()) changed_.wait_for(lock, std::chrono::milliseconds(100));
  }
  tasks_.push_back(std::move(task));
  if (idle_ < tasks_.size() && threads_.size() < max_threads_) {
    threads_.emplace_back([this] { Work(); });
  }
  changed_.notify_all();
}

void ConnectionThreads::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    shut_down_ = true;
  }
  changed_.notify_all();
  threads_.clear();  // joins; nobody enqueues any more
}

void ConnectionThreads::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !tasks_.empty() || shut_down_; });
    --idle_;
    if (tasks_.empty()) return;
    const auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

}  // namespace sluice::webhook
