// The fake pool with faults before it, answering now from within the call and now from a thread.
// It keeps only so many values, as workers do.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sluice/ports/chunk_pool.h"
#include "sluice/ports/clock.h"

#include "fake_chunk_pool.h"
#include "faults.h"

namespace sluice::reading_model {

// Makes the leases of the fake, whole seconds, short ones.
class HastyClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::steady_clock::time_point Now() const override {
    return std::chrono::steady_clock::time_point(clock_.Now().time_since_epoch() * kHaste);
  }
  [[nodiscard]] std::chrono::system_clock::time_point WallNow() const override {
    return clock_.WallNow();
  }

 private:
  static constexpr int kHaste = 10;
  SystemClock clock_;
};

class FaultyPool final : public ChunkPool {
 public:
  explicit FaultyPool(Faults& faults);
  ~FaultyPool() override;
  FaultyPool(const FaultyPool&) = delete;
  FaultyPool& operator=(const FaultyPool&) = delete;

  // Every call fails.
  void SetDown(bool down);
  [[nodiscard]] std::size_t UnderWay() const;
  [[nodiscard]] std::uint64_t Hits() const;

  void Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
           GetDone done) override;
  void Renew(const std::string& key, const PoolVersion& lease, RenewDone done) override;
  void Put(const std::string& key, const PoolVersion& lease, std::span<const std::byte> value,
           std::uint32_t checksum, Done done) override;
  void Drop(const std::string& key, const PoolVersion& version,
            std::function<void()> done) override;

 private:
  using Work = std::function<void()>;

  void Run(Work work);
  void Serve();
  void DoGet(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
             const GetDone& done);
  void DoPut(const std::string& key, const PoolVersion& lease, std::span<const std::byte> value,
             std::uint32_t checksum, const Done& done);
  bool Fails(Fault fault);
  bool KeepsWaiting(const std::string& key);
  Error Failure();
  void Disturb(const std::string& key, std::size_t size);
  void Stored(const std::string& key);

  Faults& faults_;
  const HastyClock clock_;
  test::FakeChunkPool pool_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<std::chrono::steady_clock::time_point, Work> later_;
  std::map<std::string, std::chrono::steady_clock::time_point> waiting_;  // until then
  std::deque<std::string> stored_;                                        // the oldest first
  bool down_ = false;
  std::size_t under_way_ = 0;
  std::uint64_t hits_ = 0;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace sluice::reading_model
