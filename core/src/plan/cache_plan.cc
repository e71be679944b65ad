#include <algorithm>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/quantity.h"

#include "plan/plan_parts.h"

namespace sluice::plan {
namespace {

constexpr std::uint64_t kDefaultBudget = 256 * kMebibyte;
// Code, stacks, index and connections beside the buffers.
constexpr std::uint64_t kProcessMargin = 128 * kMebibyte;
// What the cache keeps beside the chunks; the kubelet evicts a pod whose emptyDir is over its
// limit.
constexpr std::uint64_t kVolumeMargin = 64 * kMebibyte;
constexpr const char* kCacheVolume = "sluice-cache";

// The node cache is the first level. The others, and where the first one lies on a node's disk, are
// for the workers; without workers they have no effect.
Result<TierLevel> ReadNodeTier(const PlanInput& input, std::vector<std::string>& notes) {
  const Json& levels = ItemsOf(ChildOf(ChildOf(input.runtime, "spec"), "tieredstore"), "levels");
  if (levels.empty()) return TierLevel{};
  const std::string field = "spec.tieredstore.levels[0]";
  auto tier = ReadTierLevel(levels.front(), field);
  if (!tier || WantedWorkers(input) > 0) return tier;
  if (levels.size() > 1) {
    notes.emplace_back("spec.tieredstore.levels: only the first level is used as node cache");
  }
  if (!tier->paths.empty() && StringOf(levels.front(), "volumeType") != "emptyDir") {
    notes.emplace_back(field +
                       ".path: not used; the node cache is an emptyDir of the FUSE pod, on the "
                       "node's disk or in memory by mediumtype");
  }
  return tier;
}

}  // namespace

Result<CachePlan> PlanCache(const PlanInput& input, std::uint64_t requested_budget,
                            std::vector<std::string>& notes) {
  const Json& fuse = ChildOf(ChildOf(input.runtime, "spec"), "fuse");
  SLUICE_TRY(tier, ReadNodeTier(input, notes), input.profile.runtime.kind);
  CachePlan plan;
  const std::uint64_t in_memory = tier.memory ? tier.quota + kVolumeMargin : 0;

  plan.resources = ChildOf(fuse, "resources");
  const Json& limit = ValueAt(plan.resources, "/limits/memory");
  std::uint64_t budget = requested_budget != 0 ? requested_budget : kDefaultBudget;
  if (limit.is_string()) {
    auto bytes = ParseBytes(limit.get<std::string>());
    if (!bytes) return Fail(bytes.error().Wrap("spec.fuse.resources.limits.memory"));
    const std::uint64_t taken = in_memory + kProcessMargin;
    if (*bytes < taken + kSmallestBudget) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("spec.fuse.resources.limits.memory: {} is too little; the cache in "
                              "memory and the client need {}",
                              limit.get<std::string>(), FormatBytes(taken + kSmallestBudget)));
    }
    budget = std::min(budget, *bytes - taken);
  } else {
    ObjectIn(plan.resources, "limits")["memory"] = FormatBytes(budget + in_memory + kProcessMargin);
  }
  if (!ChildOf(plan.resources, "requests").contains("memory")) {
    ObjectIn(plan.resources, "requests")["memory"] = "64Mi";
  }
  if (!ChildOf(plan.resources, "requests").contains("cpu")) {
    ObjectIn(plan.resources, "requests")["cpu"] = "50m";
  }

  plan.config.memory_budget_bytes = budget;
  if (input.profile.cache_path.empty()) return plan;
  plan.config.directory = input.profile.cache_path;
  plan.config.quota_bytes = tier.quota;
  Json empty_dir = Json::object();
  if (tier.memory) empty_dir["medium"] = "Memory";
  if (tier.quota != 0) empty_dir["sizeLimit"] = FormatBytes(tier.quota + kVolumeMargin);
  plan.volume = {{"name", kCacheVolume}, {"emptyDir", std::move(empty_dir)}};
  return plan;
}

}  // namespace sluice::plan
