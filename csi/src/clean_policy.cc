#include "sluice/csi/clean_policy.h"

#include <fmt/format.h>

namespace sluice::csi {

Result<CleanPolicy> ParseCleanPolicy(std::string_view text) {
  if (text.empty() || text == "OnRuntimeDeleted") return CleanPolicy::kOnRuntimeDeleted;
  if (text == "OnDemand") return CleanPolicy::kOnDemand;
  if (text == "OnFuseChanged") return CleanPolicy::kOnFuseChanged;
  return Fail(
      Code::kInvalidArgument,
      fmt::format("cleanPolicy \"{}\": must be OnRuntimeDeleted, OnDemand or OnFuseChanged", text));
}

UnstageAction DecideUnstage(const UnstageFacts& facts) {
  if (!facts.runtime_exists) {
    return facts.used_by_volume || facts.used_by_others ? UnstageAction::kKeep
                                                        : UnstageAction::kDetach;
  }
  const bool changed = !facts.running_generation.empty() && !facts.wanted_generation.empty() &&
                       facts.running_generation != facts.wanted_generation;
  const bool leave = facts.policy == CleanPolicy::kOnDemand ||
                     (facts.policy == CleanPolicy::kOnFuseChanged && changed);
  if (!leave) return UnstageAction::kKeep;
  if (facts.used_by_volume) return UnstageAction::kRefuse;
  return facts.used_by_others ? UnstageAction::kKeep : UnstageAction::kDetachAndUnlabel;
}

}  // namespace sluice::csi
