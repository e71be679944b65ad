// Which inodes have open handles and how the kernel reads them. Kept in the state file: the kernel
// refuses an open whose mode (page cache or passthrough) or backing file differs from that of the
// opens it already has, and those outlive us.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/platform/guarded.h"

#include "state_file.h"

namespace sluice::fuse_client {

// Threads: Acquire and Free from any; an entry's own fields are its owner's.
class OpenTable {
 public:
  explicit OpenTable(StateFile& state);

  struct Row {
    std::uint32_t index = 0;
    OpenEntry entry;
  };
  // What the predecessor had open.
  [[nodiscard]] std::vector<Row> Load() const;

  // kUnavailable when all entries are in use.
  Result<std::uint32_t> Acquire();
  void Set(std::uint32_t row, const OpenEntry& entry);
  void Free(std::uint32_t row);

 private:
  StateFile& state_;
  platform::Guarded<std::vector<std::uint32_t>> free_;
};

}  // namespace sluice::fuse_client
