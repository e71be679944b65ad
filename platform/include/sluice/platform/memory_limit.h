// The memory at which the kernel ends this process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace sluice::platform {

// The smallest limit of this process's control group and of those above it that can be seen
// (version 1 and 2; in a container the root is its own group). Nothing when there is none.
// `root`: of the file system, for tests.
std::optional<std::uint64_t> MemoryLimit(const std::filesystem::path& root = "/");

}  // namespace sluice::platform
