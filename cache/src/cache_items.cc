#include "cache_items.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice::cache {

CacheItems::Item* CacheItems::Find(const std::string& name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &*found->second;
}

const CacheItems::Item* CacheItems::Find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &*found->second;
}

CacheItems::Item& CacheItems::Use(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found != by_name_.end()) {
    Items& list = ListOf(*found->second);
    list.splice(list.end(), list, found->second);
    return *found->second;
  }
  Item item;
  item.name = name;
  item.pinned = pins_.Contains(name);
  Items& list = ListOf(item);
  list.push_back(std::move(item));
  by_name_[name] = std::prev(list.end());
  return list.back();
}

void CacheItems::Erase(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return;
  Refund(name, found->second->bytes);
  ListOf(*found->second).erase(found->second);
  by_name_.erase(found);
}

void CacheItems::Clear() {
  items_.clear();
  pinned_items_.clear();
  by_name_.clear();
  bytes_ = pinned_bytes_ = 0;
}

void CacheItems::Charge(const std::string& name, std::uint64_t bytes) {
  Item* const item = Find(name);
  if (item == nullptr) return;
  item->bytes += bytes;
  bytes_ += bytes;
  if (item->pinned) pinned_bytes_ += bytes;
}

void CacheItems::Refund(const std::string& name, std::uint64_t bytes) {
  Item* const item = Find(name);
  if (item == nullptr) return;
  const std::uint64_t less = std::min(bytes, item->bytes);
  item->bytes -= less;
  bytes_ -= less;
  if (item->pinned) pinned_bytes_ -= less;
}

void CacheItems::Pin(PinSet pinned) {
  pins_ = std::move(pinned);
  pins_.Seal();
  Items all = std::exchange(items_, {});
  // Those that were pinned and are no longer go first.
  all.splice(all.begin(), pinned_items_);
  pinned_bytes_ = 0;
  while (!all.empty()) {
    Item& item = all.front();
    item.pinned = pins_.Contains(item.name);
    if (item.pinned) pinned_bytes_ += item.bytes;
    Items& list = ListOf(item);
    list.splice(list.end(), all, all.begin());
  }
}

std::vector<std::string> CacheItems::TakeVictims(std::uint64_t target, std::size_t most) {
  std::vector<std::string> victims;
  for (auto it = items_.begin(); it != items_.end() && bytes_ > target && victims.size() < most;) {
    // The space of an open file would not come back before it is closed.
    if (!it->open.expired()) {
      ++it;
      continue;
    }
    bytes_ -= it->bytes;
    victims.push_back(it->name);
    by_name_.erase(it->name);
    it = items_.erase(it);
  }
  return victims;
}

}  // namespace sluice::cache
