// Passwords and the like.
#pragma once

#include <cstddef>
#include <string>

#include "sluice/core/result.h"

namespace sluice::platform {

// `bytes` of the operating system's randomness as twice as many lower-case hexadecimal digits.
// kInternal when there is none to be had. Any thread.
Result<std::string> RandomText(std::size_t bytes);

}  // namespace sluice::platform
