// Notices that the files of a directory are opened one after the other, and tells which come next.
// Pure: no I/O, no clock, no lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice::fuse_client {

// Several walks at a time, in one directory or in several. A walk needs not be exact: readers that
// share a directory overtake one another, and some files are passed over.
class DirectoryOrder {
 public:
  // Children of a directory by their place in it: [begin, end).
  struct Children {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    bool operator==(const Children&) const = default;
  };

  DirectoryOrder() = default;
  // At most so many children of a walk are handed out before they are opened.
  explicit DirectoryOrder(std::uint32_t most_ahead) : most_ahead_(most_ahead) {}

  // The child at `place` was opened, of a directory that has `count`. Returns those to fetch now,
  // each once for a walk.
  Children OnOpen(std::uint64_t directory, std::uint32_t place, std::uint32_t count);

  // Those from `place` on were not fetched after all; they are handed out again.
  void GiveBack(std::uint64_t directory, std::uint32_t place);

 private:
  struct Walk {
    std::uint64_t directory = 0;
    std::uint32_t next = 0;    // behind the furthest that was opened
    std::uint32_t steps = 0;   // opens that were part of it
    std::uint32_t window = 0;  // how many to fetch ahead of `next`
    std::uint32_t issued = 0;  // up to here they were handed out
  };

  Walk* Match(std::uint64_t directory, std::uint32_t place);

  std::uint32_t most_ahead_ = 64;
  std::vector<Walk> walks_;  // most recently stepped first
};

}  // namespace sluice::fuse_client
