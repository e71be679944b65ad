#include "sluice/platform/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string>

#include "sluice/platform/read_file.h"

namespace sluice::platform {
namespace {

// Version 1 says "no limit" by the largest multiple of a page.
constexpr std::uint64_t kNoLimit = 1ULL << 60;

// "max", or what is no number, is no limit.
std::optional<std::uint64_t> ReadLimit(const std::filesystem::path& file) {
  const auto text = ReadFile(file.string());
  if (!text) return std::nullopt;
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), bytes);
  if (error != std::errc() || end == text->data() || bytes >= kNoLimit) return std::nullopt;
  return bytes;
}

// Of the group and all above it, as far as the hierarchy's mount shows them: in a container its
// root is the container's group, and the path is one of the host.
std::optional<std::uint64_t> LeastLimit(const std::filesystem::path& hierarchy,
                                        const std::filesystem::path& group, const char* file) {
  std::optional<std::uint64_t> least;
  for (auto at = group.relative_path();; at = at.parent_path()) {
    if (const auto limit = ReadLimit(hierarchy / at / file)) {
      least = std::min(least.value_or(*limit), *limit);
    }
    if (at.empty()) return least;
  }
}

}  // namespace

std::optional<std::uint64_t> MemoryLimit(const std::filesystem::path& root) {
  const auto groups = ReadFile((root / "proc/self/cgroup").string());
  if (!groups) return std::nullopt;
  const std::filesystem::path mounts = root / "sys/fs/cgroup";
  std::optional<std::uint64_t> least;
  std::istringstream lines(*groups);
  // "number:controllers:path"; version 2 has number 0 and names no controller.
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    std::optional<std::uint64_t> limit;
    if (line.starts_with("0::")) limit = LeastLimit(mounts, group, "memory.max");
    if (controllers.find(",memory,") != std::string::npos) {
      limit = LeastLimit(mounts / "memory", group, "memory.limit_in_bytes");
    }
    if (limit) least = std::min(least.value_or(*limit), *limit);
  }
  return least;
}

}  // namespace sluice::platform
