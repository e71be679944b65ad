// The steps of PlanRuntime, one file each. Private to core.
#pragma once

#include <string>
#include <vector>

#include "sluice/core/runtime_plan.h"

namespace sluice::plan {

// How the FUSE client's memory and cache are cut from the runtime's spec.
struct CachePlan {
  CacheConfig config;
  Json volume;     // the cache volume, named kCacheVolume; null: the engine has none
  Json resources;  // of the FUSE container
};
Result<CachePlan> PlanCache(const PlanInput& input, std::vector<std::string>& notes);

// Volumes that hold what a mount reads from the node or a claim, and the mounts rewritten to read
// there (local:///dir and pvc://claim become file:///…).
struct SourcePlan {
  Json volumes = Json::array();
  Json volume_mounts = Json::array();
};
SourcePlan PlanSources(std::vector<MountConfig>& mounts);

struct FusePodInput {
  const PlanInput& plan;
  const RuntimeIdentity& identity;
  const CachePlan& cache;
  const SourcePlan& sources;
  const std::map<std::string, std::set<std::string>>& secret_keys;
};
// The template with placeholders filled in and the runtime's fuse block, cache, secrets and sources
// merged.
Json RenderFusePod(const FusePodInput& input, const Json& pod_template);

// PV and PVC.
Result<std::vector<PlannedObject>> PlanVolumes(const PlanInput& input,
                                               const RuntimeIdentity& identity,
                                               std::vector<std::string>& notes);

}  // namespace sluice::plan
