#include "index_memory.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::fuse_client {
namespace {

// With room to grow by a quarter.
std::uint64_t WithGrowth(std::uint64_t bytes) { return bytes + bytes / 4; }

std::uint64_t Mebibytes(std::uint64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

}  // namespace

IndexMemory::IndexMemory(std::uint64_t budget) : budget_(budget), limit_(budget / 5 * 4) {}

// Its index will want about as much twice; how much is known when it is complete.
std::uint64_t IndexMemory::ListingLimit() const { return limit_ / 2; }

Status IndexMemory::Admit(const IndexNeed& need) const {
  if (need.Bytes() <= limit_) return Ok();
  const std::uint64_t enough = WithGrowth(need.Bytes());
  const std::string remedy =
      enough <= budget_
          ? "restart the client, which then takes it from the data buffers"
          : fmt::format(
                "raise the memory budget from {} to {} MiB (memory-budget of a "
                "SluiceRuntime, --memory of `sluice mount`), or mount less of the origin",
                Mebibytes(budget_), Mebibytes(enough));
  return Fail(Code::kInvalidArgument,
              fmt::format("{} objects need {} MiB of memory for their listing and index, and {} "
                          "MiB may be used: {}",
                          need.objects, Mebibytes(need.Bytes()), Mebibytes(limit_), remedy));
}

std::uint64_t IndexMemory::SetAside(const IndexNeed& need) {
  const std::uint64_t free = budget_ / 4;
  limit_ = std::clamp(WithGrowth(need.Bytes()), free, budget_);
  return budget_ - (limit_ - free);
}

}  // namespace sluice::fuse_client
