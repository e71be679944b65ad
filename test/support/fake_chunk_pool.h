// A pool of chunks in memory, whose answers a test scripts: failures, a pool that is gone, spoilt
// values, answers held back. By default every call is answered from within, on the caller's thread;
// Hold() lets the test say when. Leases end by the clock that it was given.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sluice/ports/chunk_pool.h"
#include "sluice/ports/clock.h"

namespace sluice::test {

class FakeChunkPool final : public ChunkPool {
 public:
  struct Call {
    enum class Kind { kGet, kRenew, kPut, kDrop };
    Kind kind = Kind::kGet;
    std::string key;
    bool operator==(const Call&) const = default;
  };
  // The failure of a call, or nothing for a good answer. Called without the fake's lock.
  using Script = std::function<std::optional<Error>(const Call&)>;

  explicit FakeChunkPool(const Clock& clock, std::chrono::seconds lease = std::chrono::seconds(10))
      : clock_(clock), lease_(lease) {}
  ~FakeChunkPool() override {
    SetScript([](const Call&) { return Error{Code::kUnavailable, "the pool is gone"}; });
    Release();
  }

  void SetScript(Script script) {
    std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  // Every call fails as if no worker were left, or works again.
  void SetDown(bool down) {
    std::lock_guard lock(mutex_);
    down_ = down;
  }

  // From now on calls wait, undone, for Release; calls to Drop do not.
  void Hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
  }
  // Does the oldest call that is held, on this thread; false when there is none.
  bool ReleaseOne() {
    std::function<void()> work;
    {
      std::lock_guard lock(mutex_);
      if (waiting_.empty()) return false;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
    return true;
  }
  // Does all that is held and holds no more.
  void Release() {
    {
      std::lock_guard lock(mutex_);
      held_ = false;
    }
    while (ReleaseOne()) {
    }
  }
  [[nodiscard]] std::size_t Held() const {
    std::lock_guard lock(mutex_);
    return waiting_.size();
  }

  // As if another client had put it.
  void Store(const std::string& key, std::span<const std::byte> value, std::uint32_t checksum) {
    std::lock_guard lock(mutex_);
    items_[key] = {{value.begin(), value.end()}, checksum, ++versions_, {}};
  }
  // As if it lay where it belonged before the list of workers changed.
  void StoreAtFormerPlace(const std::string& key, std::span<const std::byte> value,
                          std::uint32_t checksum) {
    std::lock_guard lock(mutex_);
    former_[key] = {{value.begin(), value.end()}, checksum, ++versions_, {}};
  }
  // As if the worker had needed the room.
  void Evict(const std::string& key) {
    std::lock_guard lock(mutex_);
    items_.erase(key);
  }
  // Turns a bit of the stored value; false when there is none.
  bool Spoil(const std::string& key) {
    std::lock_guard lock(mutex_);
    const auto found = items_.find(key);
    if (found == items_.end() || found->second.value.empty()) return false;
    found->second.value.front() ^= std::byte{1};
    return true;
  }

  // The value of `key`; nothing when absent or only leased.
  [[nodiscard]] std::optional<std::vector<std::byte>> ValueOf(const std::string& key) const {
    std::lock_guard lock(mutex_);
    const auto found = items_.find(key);
    if (found == items_.end() || found->second.value.empty()) return std::nullopt;
    return found->second.value;
  }
  // All calls so far, in order.
  [[nodiscard]] std::vector<Call> Calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  // For runs that are long.
  void ForgetCalls() {
    std::lock_guard lock(mutex_);
    calls_.clear();
  }
  [[nodiscard]] std::size_t Count(Call::Kind kind) const {
    std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(calls_.begin(), calls_.end(), [&](const Call& c) { return c.kind == kind; }));
  }

  void Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
           GetDone done) override {
    Begin({Call::Kind::kGet, key}, [this, key, into, on_miss, done = std::move(done)] {
      if (auto error = FailureOf({Call::Kind::kGet, key})) return done(Fail(*std::move(error)));
      done(Find(key, into, on_miss));
    });
  }

  void Renew(const std::string& key, const PoolVersion& lease, RenewDone done) override {
    Begin({Call::Kind::kRenew, key}, [this, key, lease, done = std::move(done)] {
      if (auto error = FailureOf({Call::Kind::kRenew, key})) return done(Fail(*std::move(error)));
      done(RenewIfLeased(key, lease));
    });
  }

  void Put(const std::string& key, const PoolVersion& lease, std::span<const std::byte> value,
           std::uint32_t checksum, Done done) override {
    Begin({Call::Kind::kPut, key}, [this, key, lease, value, checksum, done = std::move(done)] {
      if (auto error = FailureOf({Call::Kind::kPut, key})) return done(Fail(*std::move(error)));
      StoreIfLeasedOrAbsent(key, lease, value, checksum);
      done(Ok());
    });
  }

  void Drop(const std::string& key, const PoolVersion& version,
            std::function<void()> done) override {
    {
      std::lock_guard lock(mutex_);
      calls_.push_back({Call::Kind::kDrop, key});
    }
    if (!FailureOf({Call::Kind::kDrop, key})) {
      std::lock_guard lock(mutex_);
      for (auto* items : {&items_, &former_}) {
        const auto found = items->find(key);
        if (found != items->end() && found->second.version == version.number) items->erase(found);
      }
    }
    done();
  }

 private:
  struct Item {
    std::vector<std::byte> value;  // empty: leased
    std::uint32_t checksum = 0;
    std::uint64_t version = 0;
    std::chrono::steady_clock::time_point ends;  // of the lease
  };

  void Begin(Call call, std::function<void()> work) {
    {
      std::lock_guard lock(mutex_);
      calls_.push_back(std::move(call));
      if (held_) {
        waiting_.push_back(std::move(work));
        return;
      }
    }
    work();
  }

  [[nodiscard]] std::optional<Error> FailureOf(const Call& call) const {
    Script script;
    {
      std::lock_guard lock(mutex_);
      if (down_) return Error{Code::kUnavailable, "no worker of the pool answers"};
      script = script_;
    }
    return script ? script(call) : std::nullopt;
  }

  // Nothing for what is absent, leases that have ended included.
  [[nodiscard]] Item* Present(const std::string& key) {
    const auto found = items_.find(key);
    if (found == items_.end()) return nullptr;
    if (!found->second.value.empty() || found->second.ends > clock_.Now()) return &found->second;
    items_.erase(found);
    return nullptr;
  }

  PoolAnswer Find(const std::string& key, std::span<std::byte> into, OnMiss on_miss) {
    std::lock_guard lock(mutex_);
    const Item* item = Present(key);
    if (item == nullptr) {
      PoolAnswer answer;
      if (on_miss == OnMiss::kLease) {
        items_[key] = {{}, 0, ++versions_, clock_.Now() + lease_};
        answer = {.kind = PoolAnswer::Kind::kFill, .lease = {versions_}};
      }
      const auto former = former_.find(key);
      if (former == former_.end() || former->second.value.size() != into.size()) return answer;
      std::copy(former->second.value.begin(), former->second.value.end(), into.begin());
      answer.kind = PoolAnswer::Kind::kHit;
      answer.checksum = former->second.checksum;
      answer.value = {former->second.version};
      return answer;
    }
    if (item->value.empty()) return {.kind = PoolAnswer::Kind::kWait};
    if (item->value.size() != into.size()) {
      items_.erase(key);
      return {};
    }
    std::copy(item->value.begin(), item->value.end(), into.begin());
    return {.kind = PoolAnswer::Kind::kHit, .checksum = item->checksum, .value = {item->version}};
  }

  Result<PoolVersion> RenewIfLeased(const std::string& key, const PoolVersion& lease) {
    std::lock_guard lock(mutex_);
    Item* const item = Present(key);
    if (item == nullptr || item->version != lease.number) {
      return Fail(Code::kNotFound, "the lease is over");
    }
    item->version = ++versions_;
    item->ends = clock_.Now() + lease_;
    return PoolVersion{versions_};
  }

  void StoreIfLeasedOrAbsent(const std::string& key, const PoolVersion& lease,
                             std::span<const std::byte> value, std::uint32_t checksum) {
    std::lock_guard lock(mutex_);
    const Item* const item = Present(key);
    if (lease.number == 0 || value.empty()) return;
    if (item != nullptr && item->version != lease.number) return;
    items_[key] = {{value.begin(), value.end()}, checksum, ++versions_, {}};
  }

  const Clock& clock_;
  const std::chrono::seconds lease_;
  mutable std::mutex mutex_;
  std::map<std::string, Item> items_;
  std::map<std::string, Item> former_;
  std::deque<std::function<void()>> waiting_;
  std::vector<Call> calls_;
  Script script_;
  std::uint64_t versions_ = 0;
  bool held_ = false;
  bool down_ = false;
};

}  // namespace sluice::test
