#include "sluice/core/placement.h"

#include <algorithm>

#include "sluice/core/json_access.h"

namespace sluice::placement {
namespace {

constexpr const char* kRequired = "requiredDuringSchedulingIgnoredDuringExecution";
constexpr const char* kPreferred = "preferredDuringSchedulingIgnoredDuringExecution";

Json& NodeAffinity(Json& pod) {
  return ObjectIn(ObjectIn(ObjectIn(pod, "spec"), "affinity"), "nodeAffinity");
}

// What the pod has already; empty lists where it says nothing.
const Json& PreferredTerms(const Json& pod) {
  return ItemsOf(ChildOf(ChildOf(ChildOf(pod, "spec"), "affinity"), "nodeAffinity"), kPreferred);
}
const Json& RequiredTerms(const Json& pod) {
  const Json& affinity = ChildOf(ChildOf(ChildOf(pod, "spec"), "affinity"), "nodeAffinity");
  return ItemsOf(ChildOf(affinity, kRequired), "nodeSelectorTerms");
}

bool IsEmptyTerm(const Json& term) {
  return ItemsOf(term, "matchExpressions").empty() && ItemsOf(term, "matchFields").empty();
}

bool Contains(const Json& list, const Json& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

bool ContainsAll(const Json& list, const Json& items) {
  return std::all_of(items.begin(), items.end(),
                     [&](const Json& item) { return Contains(list, item); });
}

bool Implies(const Json& existing, const Json& wanted) {
  return !IsEmptyTerm(existing) &&
         ContainsAll(ItemsOf(existing, "matchExpressions"), ItemsOf(wanted, "matchExpressions")) &&
         ContainsAll(ItemsOf(existing, "matchFields"), ItemsOf(wanted, "matchFields"));
}

// Both terms' demands, one list behind the other as Fluid has them; the existing term itself where
// nothing is missing from it, so that a second admission adds nothing.
Json Both(const Json& existing, const Json& wanted) {
  if (Implies(existing, wanted)) return existing;
  Json term = existing;
  for (const char* key : {"matchExpressions", "matchFields"}) {
    for (const Json& item : ItemsOf(wanted, key)) ListIn(term, key).push_back(item);
  }
  return term;
}

bool TermMentions(const Json& term, const std::string& key) {
  const Json& expressions = ItemsOf(term, "matchExpressions");
  return std::any_of(expressions.begin(), expressions.end(),
                     [&](const Json& e) { return StringOf(e, "key") == key; });
}

}  // namespace

Json Expression(const std::string& key, const std::string& op, std::vector<std::string> values) {
  Json expression = Json::object({{"key", key}, {"operator", op}});
  if (!values.empty()) expression["values"] = std::move(values);
  return expression;
}

Json Term(std::vector<Json> expressions) {
  return Json::object({{"matchExpressions", Json(std::move(expressions))}});
}

Json Preference(int weight, Json term) {
  return Json::object({{"weight", weight}, {"preference", std::move(term)}});
}

void Require(Json& pod, const std::vector<Json>& terms) {
  std::vector<Json> wanted;
  std::copy_if(terms.begin(), terms.end(), std::back_inserter(wanted),
               [](const Json& term) { return !IsEmptyTerm(term); });
  if (wanted.empty()) return;

  Json& list = ListIn(ObjectIn(NodeAffinity(pod), kRequired), "nodeSelectorTerms");
  Json merged = Json::array();
  bool implied = true;
  for (const Json& existing : list) {
    if (IsEmptyTerm(existing)) continue;
    implied = implied && std::any_of(wanted.begin(), wanted.end(),
                                     [&](const Json& term) { return Implies(existing, term); });
    for (const Json& term : wanted) merged.push_back(Both(existing, term));
  }
  if (merged.empty()) {
    list = wanted;
  } else if (!implied) {
    list = std::move(merged);
  }
}

void Prefer(Json& pod, const std::vector<Json>& preferences) {
  if (preferences.empty()) return;
  Json& list = ListIn(NodeAffinity(pod), kPreferred);
  // Each existing term answers for one wanted term only: two datasets that want the same zone mean
  // that zone twice as much.
  std::vector<bool> answered(list.size(), false);
  for (const Json& preference : preferences) {
    std::size_t i = 0;
    while (i < answered.size() && (answered[i] || list[i] != preference)) ++i;
    if (i < answered.size()) {
      answered[i] = true;
    } else {
      list.push_back(preference);
    }
  }
}

bool TakePreferred(Json& pod, const std::vector<Json>& preferences) {
  Json rest = PreferredTerms(pod);
  for (const Json& preference : preferences) {
    const auto found = std::find(rest.begin(), rest.end(), preference);
    if (found == rest.end()) return false;
    rest.erase(found);
  }
  if (preferences.empty()) return false;
  NodeAffinity(pod)[kPreferred] = std::move(rest);
  return true;
}

bool Requires(const Json& pod, const std::vector<Json>& expressions) {
  bool any = false;
  for (const Json& term : RequiredTerms(pod)) {
    if (IsEmptyTerm(term)) continue;
    if (!ContainsAll(ItemsOf(term, "matchExpressions"), expressions)) return false;
    any = true;
  }
  return any;
}

void RemoveRequired(Json& pod, const std::vector<Json>& expressions) {
  if (RequiredTerms(pod).empty()) return;
  for (Json& term : NodeAffinity(pod)[kRequired]["nodeSelectorTerms"]) {
    if (ItemsOf(term, "matchExpressions").empty()) continue;
    Json& list = term["matchExpressions"];
    for (const Json& expression : expressions) {
      const auto found = std::find(list.begin(), list.end(), expression);
      if (found != list.end()) list.erase(found);
    }
  }
}

bool MentionsLabel(const Json& pod, const std::string& key) {
  if (ChildOf(ChildOf(pod, "spec"), "nodeSelector").contains(key)) return true;
  const Json& required = RequiredTerms(pod);
  const Json& preferred = PreferredTerms(pod);
  return std::any_of(required.begin(), required.end(),
                     [&](const Json& term) { return TermMentions(term, key); }) ||
         std::any_of(preferred.begin(), preferred.end(),
                     [&](const Json& p) { return TermMentions(ChildOf(p, "preference"), key); });
}

}  // namespace sluice::placement
