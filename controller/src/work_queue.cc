#include "sluice/controller/work_queue.h"

#include <algorithm>

namespace sluice::controller {
namespace {

using std::chrono::milliseconds;

// Looks again at least this often, so that a clock that tests turn by hand is noticed.
constexpr std::chrono::seconds kLongestNap{1};

}  // namespace

WorkQueue::WorkQueue(const Clock& clock, QueueOptions options)
    : clock_(clock), options_(options), random_(std::random_device{}()) {}

void WorkQueue::Add(const ObjectKey& key, milliseconds delay) {
  {
    std::lock_guard lock(mutex_);
    const TimePoint due = clock_.Now() + delay;
    const auto [entry, inserted] = waiting_.try_emplace(key, due);
    if (!inserted) entry->second = std::min(entry->second, due);
    ++changes_;
  }
  changed_.notify_one();
}

void WorkQueue::Retry(const ObjectKey& key) {
  milliseconds delay{};
  {
    std::lock_guard lock(mutex_);
    const unsigned failures = failures_[key]++;
    const auto full =
        std::min(options_.retry_max, options_.retry_base * (1U << std::min(failures, 16U)));
    delay = milliseconds(
        std::uniform_int_distribution<milliseconds::rep>(full.count() / 2, full.count())(random_));
  }
  Add(key, delay);
}

void WorkQueue::Forget(const ObjectKey& key) {
  std::lock_guard lock(mutex_);
  failures_.erase(key);
}

std::optional<ObjectKey> WorkQueue::Take(TimePoint& wake_at) {
  const TimePoint now = clock_.Now();
  wake_at = now + kLongestNap;
  auto best = waiting_.end();
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    if (running_.contains(it->first)) continue;
    if (best == waiting_.end() || it->second < best->second) best = it;
  }
  if (best == waiting_.end()) return {};
  if (best->second > now) {
    wake_at = std::min(wake_at, best->second);
    return {};
  }
  const ObjectKey key = best->first;
  waiting_.erase(best);
  running_.insert(key);
  return key;
}

std::optional<ObjectKey> WorkQueue::Get(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    TimePoint wake_at;
    if (auto key = Take(wake_at)) return key;
    const std::uint64_t seen = changes_;
    changed_.wait_for(lock, stop, wake_at - clock_.Now(), [&] { return changes_ != seen; });
  }
  return {};
}

std::optional<ObjectKey> WorkQueue::TryGet() {
  std::lock_guard lock(mutex_);
  TimePoint ignored;
  return Take(ignored);
}

void WorkQueue::Done(const ObjectKey& key) {
  {
    std::lock_guard lock(mutex_);
    running_.erase(key);
    ++changes_;
  }
  changed_.notify_one();
}

std::size_t WorkQueue::Depth() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

}  // namespace sluice::controller
