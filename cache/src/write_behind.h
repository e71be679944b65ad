// Bounds what was written to cache files and is not on the disk yet. Such pages cannot be taken
// back by the kernel; they count against the memory limit of the process that wrote them, and with
// control groups of version 1 nothing slows the process down before it is killed for them.
//
// Pure bookkeeping: says what to begin to write back and what to wait for, and does no I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/platform/unique_fd.h"

namespace sluice::cache {

// Not thread-safe.
class WriteBehind {
 public:
  using File = std::shared_ptr<const platform::UniqueFd>;

  // `most` bytes may be unsynced; 0: no bound, and nothing is remembered.
  explicit WriteBehind(std::uint64_t most);

  // `bytes` more were written to the file of this name, which `file` is open on. True when the
  // kernel should begin to write the file back now.
  bool OnWritten(const std::string& name, File file, std::uint64_t bytes);
  // While more is unsynced than may be, or of more files than should be kept open: the file to wait
  // for, which counts as synced from now on. Null when all is well.
  File TakeOverdue();
  // The file is gone, and what of it was unsynced too.
  void Forget(const std::string& name);

  [[nodiscard]] std::uint64_t Unsynced() const { return unsynced_; }

 private:
  struct Item {
    std::string name;
    File file;
    std::uint64_t unsynced = 0;
    std::uint64_t fresh = 0;  // of these, written since write-back was last begun
  };
  using Items = std::vector<Item>;  // the first one written to comes first; few

  File Take(Items::iterator item);

  const std::uint64_t most_;
  const std::uint64_t step_;
  Items items_;
  std::uint64_t unsynced_ = 0;
};

}  // namespace sluice::cache
