// Kubernetes quantities of bytes: "2Gi", "500M", "1e3", "0.5Ti".
#pragma once

#include <cstdint>
#include <string>

#include "sluice/core/result.h"

namespace sluice {

// Rounded up to whole bytes. kInvalidArgument for negative, malformed or overflowing text.
Result<std::uint64_t> ParseBytes(const std::string& text);

// The shortest exact text with a binary suffix: 402653184 is "384Mi", 1000 is "1000".
std::string FormatBytes(std::uint64_t bytes);

}  // namespace sluice
