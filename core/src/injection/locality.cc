#include "locality.h"

#include <algorithm>
#include <string_view>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"
#include "sluice/core/placement.h"

#include "keys.h"

namespace sluice::injection {
namespace {

constexpr std::string_view kNodeTier = "fluid.io/node";
constexpr std::string_view kFuseTier = "fluid.io/fuse";

Json HasLabel(const std::string& key) { return placement::Expression(key, "In", {keys::kTrue}); }

// The label of nodes that are "near" in the sense of a built-in tier; empty for other tiers.
std::string BuiltInLabel(std::string_view tier, const DatasetUse& use) {
  if (tier == kNodeTier) return names::WorkerLabel(use.cache_ns, use.cache_name, use.cache_uid);
  if (tier == kFuseTier) return names::FuseLabel(use.cache_ns, use.cache_name, use.cache_uid);
  return "";
}

// Expressions of the cache workers' required affinity.
std::vector<Json> CacheExpressions(const DatasetUse& use) {
  std::vector<Json> expressions;
  const Json& required =
      ChildOf(use.cache_affinity, "requiredDuringSchedulingIgnoredDuringExecution");
  for (const Json& term : ItemsOf(required, "nodeSelectorTerms")) {
    for (const Json& expression : ItemsOf(term, "matchExpressions")) {
      expressions.push_back(expression);
    }
  }
  return expressions;
}

bool IsBuiltIn(std::string_view tier) { return tier == kNodeTier || tier == kFuseTier; }

// Whether the pod prefers already what it would be given for the dataset; takes that out of it. A
// user's zone looks like ours, so what does not name the dataset itself proves nothing.
bool TakePreferences(const DatasetUse& use, const LocalityConfig& config, Json& pod) {
  return std::any_of(config.preferred.begin(), config.preferred.end(),
                     [](const LocalityTier& tier) { return IsBuiltIn(tier.name); }) &&
         placement::TakePreferred(pod, PreferencesFor(use, config.preferred));
}

// The same of what it would be made to demand, which stays.
bool HasDemands(const DatasetUse& use, const LocalityConfig& config, const Json& pod) {
  return std::any_of(config.required.begin(), config.required.end(), IsBuiltIn) &&
         placement::Requires(pod, DemandsFor(use, config.required));
}

bool Mentions(const LocalityConfig& config, const Json& pod) {
  return std::any_of(config.preferred.begin(), config.preferred.end(),
                     [&](const auto& tier) { return placement::MentionsLabel(pod, tier.name); }) ||
         std::any_of(config.required.begin(), config.required.end(),
                     [&](const auto& name) { return placement::MentionsLabel(pod, name); });
}

}  // namespace

std::vector<Json> PreferencesFor(const DatasetUse& use, const std::vector<LocalityTier>& tiers) {
  std::vector<Json> preferences;
  for (const std::string_view built_in : {kNodeTier, kFuseTier}) {
    for (const LocalityTier& tier : tiers) {
      if (tier.name != built_in) continue;
      preferences.push_back(placement::Preference(
          tier.weight, placement::Term({HasLabel(BuiltInLabel(built_in, use))})));
    }
  }
  for (const Json& expression : CacheExpressions(use)) {
    for (const LocalityTier& tier : tiers) {
      if (tier.name != StringOf(expression, "key")) continue;
      preferences.push_back(placement::Preference(tier.weight, placement::Term({expression})));
    }
  }
  return preferences;
}

std::vector<Json> DemandsFor(const DatasetUse& use, const std::vector<std::string>& tiers) {
  std::vector<Json> demands;
  for (const std::string& tier : tiers) {
    if (const std::string label = BuiltInLabel(tier, use); !label.empty()) {
      demands.push_back(HasLabel(label));
    }
  }
  for (const Json& expression : CacheExpressions(use)) {
    if (std::find(tiers.begin(), tiers.end(), StringOf(expression, "key")) != tiers.end()) {
      demands.push_back(expression);
    }
  }
  return demands;
}

std::vector<Json> SelectorOf(const DatasetUse& use) {
  std::vector<Json> expressions;
  for (const auto& [key, value] : use.node_selector.items()) {
    if (value.is_string()) {
      expressions.push_back(placement::Expression(key, "In", {value.get<std::string>()}));
    }
  }
  return expressions;
}

bool UserDecides(const DatasetUses& uses, const LocalityConfig& config, const Json& pod) {
  if (!Mentions(config, pod)) return false;
  Json others = pod;
  std::vector<Json> demands;
  std::vector<Json> selectors;
  for (const auto& [claim, use] : uses) {
    const bool preferred = TakePreferences(use, config, others);
    const bool demanded = HasDemands(use, config, pod);
    if (demanded) AppendNew(demands, DemandsFor(use, config.required));
    if (preferred || demanded) AppendNew(selectors, SelectorOf(use));
  }
  placement::RemoveRequired(others, demands);
  placement::RemoveRequired(others, selectors);
  return Mentions(config, others);
}

void AppendNew(std::vector<Json>& list, const std::vector<Json>& more) {
  for (const Json& item : more) {
    if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
  }
}

}  // namespace sluice::injection
