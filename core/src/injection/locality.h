// Where the data of a dataset is near, as terms of a pod's node affinity, and whose terms those are
// that a pod has.
#pragma once

#include <vector>

#include "dataset_use.h"

namespace sluice::injection {

// What a pod prefers, or demands, to be near to the dataset.
std::vector<Json> PreferencesFor(const DatasetUse& use, const std::vector<LocalityTier>& tiers);
std::vector<Json> DemandsFor(const DatasetUse& use, const std::vector<std::string>& tiers);

// The node selector of the dataset's FUSE pods as expressions.
std::vector<Json> SelectorOf(const DatasetUse& use);

// Whether the pod's user has chosen a place by a label that the configuration names: nothing is
// added to such a choice. What an earlier admission gave the pod for its datasets is no choice of
// the user's, so that a dataset that a later webhook adds is not left out.
bool UserDecides(const DatasetUses& uses, const LocalityConfig& config, const Json& pod);

// Appends what the list has not.
void AppendNew(std::vector<Json>& list, const std::vector<Json>& more);

}  // namespace sluice::injection
