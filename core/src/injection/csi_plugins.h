// The plugins of CSI mode: where the pod may and should run, mount propagation, and the record of
// datasets in use.
#pragma once

#include "dataset_use.h"

namespace sluice::injection {

void RequireNodeWithFuse(const DatasetUses& uses, Json& pod);
// `original` is the pod as the user wrote it: only its own affinity can switch the plugin off.
void NodeAffinityWithCache(const DatasetUses& uses, const LocalityConfig& config,
                           const Json& original, Json& pod);
// Only for a pod without datasets.
void PreferNodesWithoutCache(const DatasetUses& uses, Json& pod);
void InjectMountPropagation(const DatasetUses& uses, Json& pod);
// Never writes an empty list.
void RecordDatasetsInUse(const DatasetUses& uses, Json& pod);

}  // namespace sluice::injection
