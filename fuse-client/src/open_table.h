// Which inodes have open handles and how the kernel reads them. Kept in the state file: the kernel
// refuses an open whose mode (page cache or passthrough) or backing file differs from that of the
// opens it already has, and those outlive us (docs/fuse-state.md).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/platform/guarded.h"

#include "state_file.h"

namespace sluice::fuse_client {

// What one OPEN or RELEASE does to the table, remembered in the request's journal slot: a successor
// that finds the request unanswered must not count it twice. A value; copies mean the same request.
class RequestEffect {
 public:
  RequestEffect() = default;  // of a request that nobody will repeat
  explicit RequestEffect(std::uint64_t& word) : word_(&word) {}

  // Whether this process or one before it has done what the request asks for.
  [[nodiscard]] bool Done() const;
  // For taking back what was done: then the request has done nothing.
  [[nodiscard]] RequestEffect Undone() const {
    RequestEffect effect = *this;
    effect.undo_ = true;
    return effect;
  }

 private:
  friend class OpenTable;
  void Store(std::uint64_t value) const;

  std::uint64_t* word_ = nullptr;  // in the state file; 0 when the request has done nothing
  bool undo_ = false;
};

// Threads: Acquire and Free from any; an entry's own fields are its owner's, and changes of one
// entry come one after another.
class OpenTable {
 public:
  // Finds out which of the effects that a killed predecessor was about to have took place.
  explicit OpenTable(StateFile& state);

  struct Row {
    std::uint32_t index = 0;
    OpenEntry entry;
  };
  // What the predecessor had open.
  [[nodiscard]] std::vector<Row> Load() const;

  // kUnavailable when all entries are in use.
  Result<std::uint32_t> Acquire();
  // Both mark `effect` as done, or as undone; to a successor the change and the mark are one.
  void Set(std::uint32_t row, const OpenEntry& entry, RequestEffect effect = {});
  void Free(std::uint32_t row, RequestEffect effect = {});

 private:
  void SetOpens(std::uint32_t row, std::uint32_t opens, RequestEffect effect);

  StateFile& state_;
  platform::Guarded<std::vector<std::uint32_t>> free_;
};

}  // namespace sluice::fuse_client
