// How an object is cut: blocks are what memory, disk and checksums deal in; ranges are what is
// fetched.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sluice/ports/origin.h"

namespace sluice::cache {

// Small enough that a random read costs little more than its round trip, large enough that the
// bookkeeping of a terabyte stays in megabytes.
inline constexpr std::uint64_t kBlockBytes = 256U << 10;

static_assert(kMostObjectBytes / kBlockBytes < UINT32_MAX);

// Bytes [begin, end) of an object.
struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  [[nodiscard]] std::uint64_t Size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

inline std::uint64_t AlignDown(std::uint64_t value, std::uint64_t unit) {
  return value - value % unit;
}
inline std::uint64_t AlignUp(std::uint64_t value, std::uint64_t unit) {
  return AlignDown(value + unit - 1, unit);
}

inline std::uint32_t BlockOf(std::uint64_t offset) {
  return static_cast<std::uint32_t>(offset / kBlockBytes);
}
inline std::uint32_t BlockCount(std::uint64_t object_size) {
  return BlockOf(object_size + kBlockBytes - 1);
}
inline std::uint64_t BlockOffset(std::uint32_t block) { return block * kBlockBytes; }
// The last block of an object is as long as what is left.
inline std::uint32_t BlockLength(std::uint64_t object_size, std::uint32_t block) {
  return static_cast<std::uint32_t>(std::min(kBlockBytes, object_size - BlockOffset(block)));
}

}  // namespace sluice::cache
