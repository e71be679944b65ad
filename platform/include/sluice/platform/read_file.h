// Whole small files: configuration, keys, tokens.
#pragma once

#include <cstddef>
#include <string>

#include "sluice/core/result.h"

namespace sluice::platform {

// The bytes of a regular file. kNotFound when it cannot be read, kInvalidArgument when it is larger
// than `most` bytes; both name the path.
Result<std::string> ReadFile(const std::string& path, std::size_t most = 4U << 20);

}  // namespace sluice::platform
