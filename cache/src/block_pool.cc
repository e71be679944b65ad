#include "block_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <new>

namespace sluice::cache {

BlockPool::BlockPool(std::uint64_t bytes)
    : bytes_(AlignUp(bytes, kBlockBytes)), slots_(bytes_ / kBlockBytes + kLists) {
  void* map = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(map);
  for (std::size_t i = SlotCount(); i-- > 0;) free_.push_back(static_cast<std::uint32_t>(i));
  for (const bool consumed : {false, true}) {
    const std::uint32_t sentinel = Sentinel(consumed);
    slots_[sentinel].previous = slots_[sentinel].next = sentinel;
  }
}

BlockPool::~BlockPool() { munmap(base_, bytes_); }

std::uint32_t BlockPool::Sentinel(bool consumed) const {
  return static_cast<std::uint32_t>(SlotCount() + (consumed ? 1 : 0));
}

std::optional<std::uint32_t> BlockPool::Allocate(BlockOwner& owner, std::uint32_t block,
                                                 std::uint32_t length) {
  if (free_.empty()) {
    if (evictable_ == 0) return std::nullopt;
    std::uint32_t victim = slots_[Sentinel(true)].next;
    if (victim == Sentinel(true)) victim = slots_[Sentinel(false)].next;
    Detach(victim);
  }
  const std::uint32_t id = free_.back();
  free_.pop_back();
  Slot& slot = slots_[id];
  slot.owner = &owner;
  slot.block = block;
  slot.length = length;
  slot.pins = 1;
  slot.state = Slot::State::kFilling;
  owner.blocks[block] = id;
  return id;
}

void BlockPool::Pin(std::uint32_t id) {
  Slot& slot = slots_[id];
  assert(slot.state != Slot::State::kFree);
  if (slot.pins++ == 0) Unlink(id);
}

void BlockPool::Unpin(std::uint32_t id) {
  Slot& slot = slots_[id];
  assert(slot.pins > 0);
  if (--slot.pins > 0) return;
  if (slot.owner != nullptr && slot.state == Slot::State::kReady && !slot.spare) {
    Link(id);
    return;
  }
  if (slot.owner != nullptr) slot.owner->blocks.erase(slot.block);
  slot.owner = nullptr;
  Free(id);
}

void BlockPool::Detach(std::uint32_t id) {
  Slot& slot = slots_[id];
  if (slot.owner == nullptr) return;
  slot.owner->blocks.erase(slot.block);
  slot.owner = nullptr;
  if (slot.pins > 0) return;
  Unlink(id);
  Free(id);
}

void BlockPool::Trim() {
  for (const bool consumed : {true, false}) {
    const std::uint32_t sentinel = Sentinel(consumed);
    while (slots_[sentinel].next != sentinel) Detach(slots_[sentinel].next);
  }
  std::sort(free_.rbegin(), free_.rend());  // lowest address last: used first
  for (std::size_t i = free_.size(); i > 0;) {
    const std::uint32_t first = free_[--i];
    std::uint32_t last = first;
    while (i > 0 && free_[i - 1] == last + 1) last = free_[--i];
    madvise(Data(first), (last - first + 1) * kBlockBytes, MADV_DONTNEED);
  }
}

void BlockPool::Link(std::uint32_t id) {
  const std::uint32_t sentinel = Sentinel(slots_[id].consumed);
  Slot& tail = slots_[slots_[sentinel].previous];
  slots_[id].previous = slots_[sentinel].previous;
  slots_[id].next = sentinel;
  tail.next = id;
  slots_[sentinel].previous = id;
  ++evictable_;
}

void BlockPool::Unlink(std::uint32_t id) {
  const Slot& slot = slots_[id];
  slots_[slot.previous].next = slot.next;
  slots_[slot.next].previous = slot.previous;
  --evictable_;
}

void BlockPool::Free(std::uint32_t id) {
  Slot& slot = slots_[id];
  slot.state = Slot::State::kFree;
  slot.valid = 0;
  slot.consumed = false;
  slot.spare = false;
  slot.waiters.clear();
  free_.push_back(id);
}

}  // namespace sluice::cache
