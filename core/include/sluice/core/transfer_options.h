// What a mount says about how hard its origin may be worked, whatever the scheme.
#pragma once

#include <cstdint>

#include "sluice/core/fuse_config.h"
#include "sluice/core/result.h"

namespace sluice {

struct TransferOptions {
  unsigned max_connections = 0;        // requests at once; 0: not said
  std::uint64_t bytes_per_second = 0;  // 0: no limit
  bool hedge = true;                   // a read whose answer is late may be asked for twice
};

// Slower than this, reads would miss their deadlines.
inline constexpr std::uint64_t kLeastBandwidth = 1 << 20;
inline constexpr unsigned kMostConnections = 1024;

// Of options "maxConnections" (1 to 1024), "bandwidth" (a quantity such as 200Mi: bytes a second)
// and "hedge" (true or false). kInvalidArgument names mount point, option and fix.
Result<TransferOptions> ResolveTransferOptions(const MountConfig& mount);

}  // namespace sluice
