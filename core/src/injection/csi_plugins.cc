#include "csi_plugins.h"

#include <algorithm>
#include <cctype>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"
#include "sluice/core/placement.h"

#include "keys.h"
#include "pod_edit.h"

namespace sluice::injection {
namespace {

constexpr std::string_view kNodeTier = "fluid.io/node";
constexpr std::string_view kFuseTier = "fluid.io/fuse";

// The captured text of fluid.io/dataset.<claim>.sched=required is compared with the claim.
bool IsRequired(const Json& pod, const std::string& claim) {
  const bool matches = std::all_of(claim.begin(), claim.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-';
  });
  const Json& labels = ChildOf(ChildOf(pod, "metadata"), "labels");
  return matches &&
         StringOf(labels, keys::kSchedPrefix + claim + keys::kSchedSuffix) == keys::kSchedRequired;
}

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

bool UserDecides(const LocalityConfig& config, const Json& pod) {
  return std::any_of(config.preferred.begin(), config.preferred.end(),
                     [&](const auto& tier) { return placement::MentionsLabel(pod, tier.name); }) ||
         std::any_of(config.required.begin(), config.required.end(),
                     [&](const auto& name) { return placement::MentionsLabel(pod, name); });
}

void AppendNew(std::vector<Json>& list, const std::vector<Json>& more) {
  for (const Json& item : more) {
    if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
  }
}

}  // namespace

void RequireNodeWithFuse(const DatasetUses& uses, Json& pod) {
  // One term per dataset. The scheduler takes terms as alternatives, so each also demands what the
  // other datasets demand.
  std::vector<std::vector<Json>> selectors;
  for (const auto& [claim, use] : uses) {
    std::vector<Json> expressions;
    for (const auto& [key, value] : use.node_selector.items()) {
      if (value.is_string()) {
        expressions.push_back(placement::Expression(key, "In", {value.get<std::string>()}));
      }
    }
    if (!expressions.empty()) selectors.push_back(std::move(expressions));
  }
  std::vector<Json> terms;
  for (std::size_t i = 0; i < selectors.size(); ++i) {
    std::vector<Json> all = selectors[i];
    for (const auto& other : selectors) AppendNew(all, other);
    terms.push_back(placement::Term(std::move(all)));
  }
  placement::Require(pod, terms);
}

void NodeAffinityWithCache(const DatasetUses& uses, const LocalityConfig& config,
                           const Json& original, Json& pod) {
  if (UserDecides(config, original)) return;
  std::vector<Json> preferences;
  std::vector<Json> demands;
  for (const auto& [claim, use] : uses) {
    if (IsRequired(original, claim)) {
      AppendNew(demands, DemandsFor(use, config.required));
    } else {
      const auto more = PreferencesFor(use, config.preferred);
      preferences.insert(preferences.end(), more.begin(), more.end());
    }
  }
  // One term: the pod needs all its required datasets near, not any of them.
  if (!demands.empty()) placement::Require(pod, {placement::Term(std::move(demands))});
  placement::Prefer(pod, preferences);
}

void PreferNodesWithoutCache(const DatasetUses& uses, Json& pod) {
  if (!uses.empty()) return;
  placement::Prefer(
      pod,
      {placement::Preference(
          100, placement::Term({placement::Expression(keys::kDatasetNum, "DoesNotExist", {})}))});
}

void InjectMountPropagation(const DatasetUses& uses, Json& pod) {
  const std::set<std::string> volumes = VolumesOfClaims(pod, uses);
  if (ItemsOf(ChildOf(pod, "spec"), "containers").empty()) return;
  for (Json& container : pod["spec"]["containers"]) {
    if (ItemsOf(container, "volumeMounts").empty()) continue;
    for (Json& mount : container["volumeMounts"]) {
      if (mount.is_object() && volumes.contains(StringOf(mount, "name")) &&
          StringOf(mount, "mountPropagation").empty()) {
        mount["mountPropagation"] = "HostToContainer";
      }
    }
  }
}

void RecordDatasetsInUse(const DatasetUses& uses, Json& pod) {
  if (uses.empty()) return;
  std::set<std::string> datasets;
  for (const auto& [claim, use] : uses) datasets.insert(use.name);
  const std::string known =
      StringOf(ChildOf(ChildOf(pod, "metadata"), "annotations"), keys::kDatasetsInUse);
  for (std::string entry : Split(known, ',')) {
    entry.erase(0, entry.find_first_not_of(" \t\n"));
    entry.erase(entry.find_last_not_of(" \t\n") + 1);
    if (!entry.empty()) datasets.insert(std::move(entry));
  }
  SetAnnotation(pod, keys::kDatasetsInUse, fmt::format("{}", fmt::join(datasets, ",")));
}

}  // namespace sluice::injection
