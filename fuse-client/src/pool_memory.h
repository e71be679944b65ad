// How much of the client's memory chunks on their way from or to the pool may take.
#pragma once

#include <cstdint>

#include "sluice/core/fuse_config.h"

namespace sluice::fuse_client {

// Of the memory budget, for all mounts together; 0 without a pool, or when there is too little for
// two chunks of each mount.
inline std::uint64_t PoolMemory(const FuseConfig& config) {
  constexpr std::uint64_t kShare = 3;
  constexpr std::uint64_t kLeastOfMount = 8ULL << 20;
  if (config.pool.members_file.empty()) return 0;
  const std::uint64_t bytes = config.cache.memory_budget_bytes / kShare;
  return bytes < kLeastOfMount * config.mounts.size() ? 0 : bytes;
}

}  // namespace sluice::fuse_client
