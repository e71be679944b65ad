// Keys of objects to look at: each at most once in the queue and with one worker at a time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <stop_token>

#include "sluice/core/resource.h"
#include "sluice/ports/clock.h"

namespace sluice::controller {

struct QueueOptions {
  std::chrono::milliseconds retry_base{200};  // doubled per failure of a key, half of it random
  std::chrono::milliseconds retry_max{60'000};
};

// Bounded by the number of distinct keys. Threads: any.
class WorkQueue {
 public:
  WorkQueue(const Clock& clock, QueueOptions options);

  // Due after `delay`; a key that is queued already becomes due at the earlier of both times.
  void Add(const ObjectKey& key, std::chrono::milliseconds delay = {});
  // Add with the key's next back-off delay. Forget resets that.
  void Retry(const ObjectKey& key);
  void Forget(const ObjectKey& key);

  // The next due key that no worker has; it is this worker's until Done. Nothing once stopped.
  std::optional<ObjectKey> Get(const std::stop_token& stop);
  // The same without waiting.
  std::optional<ObjectKey> TryGet();
  void Done(const ObjectKey& key);

  [[nodiscard]] std::size_t Depth() const;

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  // Under the lock: takes a due key, or tells when to look again.
  std::optional<ObjectKey> Take(TimePoint& wake_at);

  const Clock& clock_;
  const QueueOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t changes_ = 0;  // grows with each notification
  std::map<ObjectKey, TimePoint> waiting_;
  std::set<ObjectKey> running_;
  std::map<ObjectKey, unsigned> failures_;
  std::minstd_rand random_;
};

}  // namespace sluice::controller
