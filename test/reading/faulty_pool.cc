#include "faulty_pool.h"

#include <cstring>
#include <memory>
#include <utility>

namespace sluice::reading_model {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kLease{1};  // of the hasty clock
constexpr std::size_t kMostValues = 40;
constexpr unsigned kThreads = 2;
constexpr std::chrono::milliseconds kKeepsWaiting{400};  // longer than clients do
constexpr std::uint64_t kMostDelayMicros = 100'000;

}  // namespace

FaultyPool::FaultyPool(Faults& faults) : faults_(faults), pool_(clock_, kLease) {
  for (unsigned i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Serve(); });
}

FaultyPool::~FaultyPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  threads_.clear();
}

void FaultyPool::SetDown(bool down) {
  std::lock_guard lock(mutex_);
  down_ = down;
}

std::size_t FaultyPool::UnderWay() const {
  std::lock_guard lock(mutex_);
  return under_way_;
}

std::uint64_t FaultyPool::Hits() const {
  std::lock_guard lock(mutex_);
  return hits_;
}

void FaultyPool::Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
                     GetDone done) {
  Run([this, key, into, on_miss, done = std::move(done)] { DoGet(key, into, on_miss, done); });
}

void FaultyPool::Renew(const std::string& key, const PoolVersion& lease, RenewDone done) {
  Run([this, key, lease, done = std::move(done)] {
    if (Fails(Fault::kPoolRenewFails)) return done(Fail(Failure()));
    pool_.Renew(key, lease, done);
  });
}

void FaultyPool::Put(const std::string& key, const PoolVersion& lease,
                     std::span<const std::byte> value, std::uint32_t checksum, Done done) {
  Run([this, key, lease, value, checksum, done = std::move(done)] {
    DoPut(key, lease, value, checksum, done);
  });
}

void FaultyPool::Drop(const std::string& key, const PoolVersion& version,
                      std::function<void()> done) {
  Run([this, key, version, done = std::move(done)] {
    if (faults_.Happens(Fault::kPoolForgetsDrop)) return done();
    pool_.Drop(key, version, done);
  });
}

void FaultyPool::Run(Work work) {
  const bool slow = faults_.Happens(Fault::kPoolIsSlow);
  const bool now = !slow && faults_.Draw(2) == 0;
  {
    std::lock_guard lock(mutex_);
    ++under_way_;
    if (!now) {
      const microseconds delay{slow ? faults_.Draw(kMostDelayMicros) : 0};
      later_.emplace(steady_clock::now() + delay, std::move(work));
    }
  }
  if (!now) return changed_.notify_one();
  work();
  std::lock_guard lock(mutex_);
  --under_way_;
}

// The end of the pool answers what waits.
void FaultyPool::Serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (later_.empty()) {
      if (stopping_) return;
      changed_.wait(lock, [&] { return stopping_ || !later_.empty(); });
      continue;
    }
    const auto due = later_.begin()->first;
    if (!stopping_ && steady_clock::now() < due) {
      changed_.wait_until(lock, due);
      continue;
    }
    Work work = std::move(later_.begin()->second);
    later_.erase(later_.begin());
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    --under_way_;
  }
}

void FaultyPool::DoGet(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
                       const GetDone& done) {
  const bool scribbles = faults_.Happens(Fault::kPoolScribbles);
  if (scribbles) std::memset(into.data(), 0x5c, into.size());
  if (Fails(Fault::kPoolGetFails)) return done(Fail(Failure()));
  if (faults_.Happens(Fault::kPoolMisses)) return done(PoolAnswer{});
  if (on_miss == OnMiss::kLease && KeepsWaiting(key)) {
    return done(PoolAnswer{.kind = PoolAnswer::Kind::kWait});
  }
  Disturb(key, into.size());
  pool_.ForgetCalls();
  pool_.Get(key, into, on_miss, [&](Result<PoolAnswer> answer) {
    const bool hit = answer && answer->kind == PoolAnswer::Kind::kHit;
    if (hit && faults_.Happens(Fault::kPoolSpoilsChecksum)) answer->checksum ^= 1;
    if (hit) {
      std::lock_guard lock(mutex_);
      ++hits_;
    }
    done(std::move(answer));
  });
}

bool FaultyPool::KeepsWaiting(const std::string& key) {
  const bool begins = faults_.Happens(Fault::kPoolKeepsWaiting);
  const auto now = steady_clock::now();
  std::lock_guard lock(mutex_);
  if (begins) waiting_[key] = now + kKeepsWaiting;
  const auto found = waiting_.find(key);
  if (found == waiting_.end() || now < found->second) return found != waiting_.end();
  waiting_.erase(found);
  return false;
}

// What happens to the value before it is asked for.
void FaultyPool::Disturb(const std::string& key, std::size_t size) {
  if (faults_.Happens(Fault::kPoolLosesValue)) pool_.Evict(key);
  if (faults_.Happens(Fault::kPoolSpoilsValue)) pool_.Spoil(key);
  if (!faults_.Happens(Fault::kPoolOtherClientDies)) return;
  std::vector<std::byte> into(size);
  pool_.Get(key, into, OnMiss::kLease, [](const Result<PoolAnswer>&) {});
}

void FaultyPool::DoPut(const std::string& key, const PoolVersion& lease,
                       std::span<const std::byte> value, std::uint32_t checksum, const Done& done) {
  if (Fails(Fault::kPoolPutFails)) return done(Fail(Failure()));
  if (faults_.Happens(Fault::kPoolForgetsPut)) return done(Ok());
  pool_.Put(key, lease, value, checksum, [&](const Status& status) {
    Stored(key);
    done(status);
  });
}

bool FaultyPool::Fails(Fault fault) {
  const bool down = [&] {
    std::lock_guard lock(mutex_);
    return down_;
  }();
  return (down && faults_.Make(Fault::kPoolIsDown)) || faults_.Happens(fault);
}

Error FaultyPool::Failure() {
  const Code code = faults_.Draw(2) == 0 ? Code::kUnavailable : Code::kDeadlineExceeded;
  return {code, "no worker of the pool answers"};
}

void FaultyPool::Stored(const std::string& key) {
  std::string oldest;
  {
    std::lock_guard lock(mutex_);
    stored_.push_back(key);
    if (stored_.size() <= kMostValues) return;
    oldest = std::move(stored_.front());
    stored_.pop_front();
  }
  pool_.Evict(oldest);
}

}  // namespace sluice::reading_model
