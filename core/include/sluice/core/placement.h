// Node affinity of a pod: how terms that Sluice wants join those that the user wrote. Everything
// here leaves unknown fields alone and does nothing the second time.
#pragma once

#include <string>
#include <vector>

#include "sluice/core/resource.h"

namespace sluice::placement {

// One expression of a node selector term.
Json Expression(const std::string& key, const std::string& op, std::vector<std::string> values);
// A NodeSelectorTerm of these expressions.
Json Term(std::vector<Json> expressions);
// A preferred scheduling term.
Json Preference(int weight, Json term);

// Demands one of `terms` of the pod's node, on top of what it demands already: the cross product of
// existing and new terms, existing expressions first. Empty terms match nothing and fall out.
// An expression that the existing term has already is not repeated; nothing changes when every
// existing term implies a new one.
void Require(Json& pod, const std::vector<Json>& terms);

// Appends preferred terms that are not there yet, each counted as often as it is given.
void Prefer(Json& pod, const std::vector<Json>& preferences);

// Takes these preferred terms out of the pod, each as often as it is given. Says false, and takes
// nothing, when there are none to take or one is missing.
bool TakePreferred(Json& pod, const std::vector<Json>& preferences);

// Whether every alternative that the pod demands of its node has all these expressions.
bool Requires(const Json& pod, const std::vector<Json>& expressions);

// Takes each of these expressions once out of every alternative that has it.
void RemoveRequired(Json& pod, const std::vector<Json>& expressions);

// Whether the pod's nodeSelector or the matchExpressions of its node affinity name this label.
bool MentionsLabel(const Json& pod, const std::string& key);

}  // namespace sluice::placement
