// Backing files of FUSE passthrough (kernel 6.9 and later; needs CAP_SYS_ADMIN).
#pragma once

#include <cstdint>

#include "sluice/core/result.h"

namespace sluice::broker {

// Registers `file` with the connection of `device`; the id is > 0. kPermissionDenied without the
// capability, kUnavailable when the kernel has no passthrough or it was not negotiated,
// kInvalidArgument when `file` is not a regular file opened read-only.
Result<std::int32_t> RegisterBackingFile(int device, int file);
Status UnregisterBackingFile(int device, std::int32_t id);

}  // namespace sluice::broker
