// How much of the client's memory the listing of the origin and the index may take.
//
// While an index is written, the listing, the new index and the one that it replaces are in memory
// together. A quarter of the memory budget is not for data buffers; the listing and the indexes of
// an ordinary dataset fit into it, and a larger dataset takes from the buffers
// (docs/fuse-state.md).
#pragma once

#include <cstdint>

#include "sluice/core/result.h"

namespace sluice::fuse_client {

// What a dataset takes.
struct IndexNeed {
  std::uint64_t listing_bytes = 0;
  std::uint64_t index_bytes = 0;
  std::uint64_t objects = 0;

  [[nodiscard]] std::uint64_t Bytes() const { return listing_bytes + 2 * index_bytes; }
};

class IndexMemory {
 public:
  explicit IndexMemory(std::uint64_t budget);

  // What the listing of all mounts may take while it arrives, its size being unknown yet.
  [[nodiscard]] std::uint64_t ListingLimit() const;
  // kInvalidArgument, with need, limit and remedy, when there is no room.
  [[nodiscard]] Status Admit(const IndexNeed& need) const;
  // After the first index: leaves room for it and for some growth, which is the limit from now on.
  // Returns what is left of the budget for the data buffers.
  std::uint64_t SetAside(const IndexNeed& need);

 private:
  std::uint64_t budget_;
  std::uint64_t limit_;
};

}  // namespace sluice::fuse_client
