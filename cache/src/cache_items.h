// What the cache directory holds, how much of it each object takes, and which go first when there
// is no room. Pure: no I/O, no lock.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sluice/cache/pin_set.h"

namespace sluice::cache {

class CacheEntry;

class CacheItems {
 public:
  struct Item {
    std::string name;
    std::uint64_t bytes = 0;
    std::weak_ptr<CacheEntry> open;
    bool verified = false;  // a whole file, written or checked by this process
    bool pinned = false;
    std::chrono::steady_clock::time_point stamped;  // when the index file was given its time
  };

  // Null when there is none.
  Item* Find(const std::string& name);
  [[nodiscard]] const Item* Find(const std::string& name) const;
  // It, or a new one, used now.
  Item& Use(const std::string& name);
  void Erase(const std::string& name);
  void Clear();

  // Nothing happens to an item that is not there.
  void Charge(const std::string& name, std::uint64_t bytes);
  void Refund(const std::string& name, std::uint64_t bytes);  // at most what it takes

  // Those of the set are pinned, others are not; so it is with items that come later.
  void Pin(PinSet pinned);

  // Erases what is neither open nor pinned, the least recently used first, until at most `target`
  // bytes are left or `most` items are gone, and returns their names.
  std::vector<std::string> TakeVictims(std::uint64_t target, std::size_t most = SIZE_MAX);

  [[nodiscard]] std::uint64_t Bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t PinnedBytes() const { return pinned_bytes_; }
  [[nodiscard]] std::size_t Count() const { return by_name_.size(); }

 private:
  using Items = std::list<Item>;  // least recently used first

  Items& ListOf(const Item& item) { return item.pinned ? pinned_items_ : items_; }

  Items items_;         // not pinned
  Items pinned_items_;  // apart, so that nobody walks past them in search of a victim
  std::unordered_map<std::string, Items::iterator> by_name_;
  PinSet pins_;
  std::uint64_t bytes_ = 0;  // of all
  std::uint64_t pinned_bytes_ = 0;
};

}  // namespace sluice::cache
