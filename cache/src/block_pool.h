// The buffers of the process: one fixed reservation of address space cut into slots of one block,
// and which block of which object each slot holds. Pages are committed when first written, so the
// reservation costs nothing until it is used. Not thread-safe: the engine's lock guards it, except
// that the bytes of a pinned slot may be touched outside (Data()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "geometry.h"

namespace sluice::cache {

struct Request;

// What a slot belongs to: block number -> slot, for all blocks of one object in memory.
struct BlockOwner {
  std::unordered_map<std::uint32_t, std::uint32_t> blocks;
};

struct Waiter {
  std::shared_ptr<Request> request;
  std::uint32_t need = 0;  // bytes from the start of the block
};

struct Slot {
  enum class State : std::uint8_t { kFree, kFilling, kReady };

  BlockOwner* owner = nullptr;  // null when free, or when nobody may find the block any more
  std::uint32_t block = 0;
  std::uint32_t length = 0;  // of the block
  std::uint32_t valid = 0;   // bytes that have arrived, from the start
  std::uint32_t pins = 0;
  State state = State::kFree;
  bool consumed = false;  // read to its end in sequence: evict before others
  bool spare = false;     // consumed, and the disk has it: free it once unpinned
  bool storing = false;   // on its way to the disk, and pinned for that
  std::vector<Waiter> waiters;

  // Position in the eviction list, when ready and not pinned.
  std::uint32_t previous = 0;
  std::uint32_t next = 0;
};

class BlockPool {
 public:
  // Throws std::bad_alloc when the address space cannot be reserved.
  explicit BlockPool(std::uint64_t bytes);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // A slot for this block, kFilling and pinned once, entered in `owner`. The least useful unpinned
  // block makes room. Nothing when every slot is pinned.
  std::optional<std::uint32_t> Allocate(BlockOwner& owner, std::uint32_t block,
                                        std::uint32_t length);
  // How many Allocate calls would succeed now.
  [[nodiscard]] std::size_t Available() const { return free_.size() + evictable_; }

  void Pin(std::uint32_t id);
  // The last unpin makes a ready block evictable, and frees any other and a spare one: its memory,
  // still in the processor's cache, is the next to be used.
  void Unpin(std::uint32_t id);
  // Nobody finds the block any more; the slot is freed once unpinned, at once when it is.
  void Detach(std::uint32_t id);
  // Evicts every block that is not pinned and gives all free memory back to the system.
  void Trim();

  Slot& At(std::uint32_t id) { return slots_[id]; }
  [[nodiscard]] std::byte* Data(std::uint32_t id) const { return base_ + id * kBlockBytes; }
  [[nodiscard]] std::size_t SlotCount() const { return slots_.size() - kLists; }
  [[nodiscard]] std::size_t UsedSlots() const { return SlotCount() - free_.size(); }

 private:
  static constexpr std::size_t kLists = 2;  // sentinels: consumed blocks, all others

  void Link(std::uint32_t id);
  void Unlink(std::uint32_t id);
  void Free(std::uint32_t id);
  [[nodiscard]] std::uint32_t Sentinel(bool consumed) const;

  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::vector<Slot> slots_;          // then the two sentinels
  std::vector<std::uint32_t> free_;  // the last one is used first, so that memory stays compact
  std::size_t evictable_ = 0;
};

}  // namespace sluice::cache
