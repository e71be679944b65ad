// The first bytes of an index block (docs/fuse-state.md).
#pragma once

#include <array>

#include "index.h"

namespace sluice::fuse_client {

struct Index::Header {
  static constexpr std::array<char, 8> kMagic = {'S', 'L', 'I', 'N', 'D', 'E', 'X', '2'};
  // The same without links: zero stood where they are marked.
  static constexpr std::array<char, 8> kWithoutLinks = {'S', 'L', 'I', 'N', 'D', 'E', 'X', '1'};

  std::array<char, 8> magic = kMagic;
  std::uint64_t total_bytes = 0;
  std::uint32_t node_count = 0;
  std::uint32_t reserved = 0;
  std::uint64_t nodes_offset = 0;
  std::uint64_t ids_offset = 0;
  std::uint64_t strings_offset = 0;
  std::uint64_t files = 0;
  std::uint64_t data_bytes = 0;
  std::uint64_t skipped = 0;
};

}  // namespace sluice::fuse_client
