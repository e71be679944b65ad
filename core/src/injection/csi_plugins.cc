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
#include "locality.h"
#include "pod_edit.h"

namespace sluice::injection {
namespace {

// The captured text of fluid.io/dataset.<claim>.sched=required is compared with the claim.
bool IsRequired(const Json& pod, const std::string& claim) {
  const bool matches = std::all_of(claim.begin(), claim.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-';
  });
  const Json& labels = ChildOf(ChildOf(pod, "metadata"), "labels");
  return matches &&
         StringOf(labels, keys::kSchedPrefix + claim + keys::kSchedSuffix) == keys::kSchedRequired;
}

}  // namespace

void RequireNodeWithFuse(const DatasetUses& uses, Json& pod) {
  // One term per dataset. The scheduler takes terms as alternatives, so each also demands what the
  // other datasets demand.
  std::vector<std::vector<Json>> selectors;
  for (const auto& [claim, use] : uses) {
    std::vector<Json> expressions = SelectorOf(use);
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
  if (UserDecides(uses, config, original)) return;
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
