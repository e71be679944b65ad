// One operation at a time per volume, mount or target path.
#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "sluice/platform/guarded.h"

namespace sluice::csi {

// Threads: any. Must outlive its leases.
class KeyLocks {
 public:
  // Holds a key until destruction.
  class Lease {
   public:
    Lease(KeyLocks* locks, std::string key) : locks_(locks), key_(std::move(key)) {}
    Lease(Lease&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)), key_(std::move(other.key_)) {}
    Lease& operator=(Lease&&) = delete;
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      if (locks_ != nullptr) locks_->Release(key_);
    }

   private:
    KeyLocks* locks_;
    std::string key_;
  };

  // Empty when somebody else has the key.
  std::optional<Lease> TryLock(const std::string& key) {
    return LockUntil(key, std::chrono::steady_clock::time_point{}, {});
  }
  // Waits for the key; empty at the deadline or when `stop` is requested.
  std::optional<Lease> LockUntil(const std::string& key,
                                 std::chrono::steady_clock::time_point deadline,
                                 const std::stop_token& stop) {
    const bool taken =
        held_.WaitUntil(deadline, stop, [&](auto& held) { return held.insert(key).second; });
    if (!taken) return std::nullopt;
    return std::make_optional<Lease>(this, key);
  }

 private:
  void Release(const std::string& key) {
    held_.With([&](auto& held) { held.erase(key); });
    held_.Notify();
  }

  platform::Guarded<std::set<std::string>> held_;
};

}  // namespace sluice::csi
