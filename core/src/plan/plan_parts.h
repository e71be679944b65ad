// The steps of PlanRuntime, one file each. Private to core.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sluice/core/runtime_plan.h"

namespace sluice::plan {

inline constexpr std::uint64_t kMebibyte = 1ULL << 20;

// One level of spec.tieredstore.
struct TierLevel {
  bool memory = false;      // else on disk
  std::uint64_t quota = 0;  // of the level; 0: not given
  std::vector<std::string> paths = {};
  std::vector<std::uint64_t> path_quotas = {};  // one for each path, or for the level without one
};
Result<TierLevel> ReadTierLevel(const Json& level, const std::string& field);

// "a,b" as {"a", "b"}; blanks stay.
std::vector<std::string> SplitAtCommas(const std::string& list);

// Cache workers that the runtime asks for; 0 for engines that have none.
std::int32_t WantedWorkers(const PlanInput& input);

inline constexpr std::uint64_t kSmallestBudget = 16 * kMebibyte;

// What the specs say of the native client itself: the Dataset's spec.owner and the runtime's
// spec.fuse.options.
struct ClientOptions {
  std::uint64_t memory_budget = 0;  // 0: not given; else at least kSmallestBudget
  Appearance appearance;
  std::vector<std::string> pinned;  // paths, CacheConfig::pinned
};
Result<ClientOptions> ReadClientOptions(const PlanInput& input, std::vector<std::string>& notes);

// How the FUSE client's memory and cache are cut from the runtime's spec.
struct CachePlan {
  CacheConfig config;
  Json volume;     // the cache volume, named kCacheVolume; null: the engine has none
  Json resources;  // of the FUSE container
};
// `requested_budget`: ClientOptions::memory_budget.
Result<CachePlan> PlanCache(const PlanInput& input, std::uint64_t requested_budget,
                            std::vector<std::string>& notes);

// Volumes that hold what a mount reads from the node or a claim, and the mounts rewritten to read
// there (local:///dir and pvc://claim become file:///…).
struct SourcePlan {
  Json volumes = Json::array();
  Json volume_mounts = Json::array();
};
SourcePlan PlanSources(std::vector<MountConfig>& mounts);

// How the workers are kept from others, by spec.worker.options.
struct PoolSecurity {
  bool authentication = false;
  bool tls = false;
  bool encryption = false;  // of chunks, which workers do not see
};

struct FusePodInput {
  const PlanInput& plan;
  const RuntimeIdentity& identity;
  const CachePlan& cache;
  const SourcePlan& sources;
  const std::map<std::string, std::set<std::string>>& secret_keys;
  PoolSecurity pool_security = {};
};
// The template with placeholders filled in and the runtime's fuse block, cache, secrets and sources
// merged.
Json RenderFusePod(const FusePodInput& input, const Json& pod_template);

// What a pod runs where the runtime's block ("fuse", "worker") names no image of its own.
struct DefaultImage {
  std::string image;
  std::string pull_policy;
};
void SetImage(const Json& block, const DefaultImage& otherwise, Json& container);
// A list of EnvVar, or a map as some Fluid runtimes have it.
void AppendEnv(const Json& block, Json& container);
void SetPullSecrets(const Json& runtime_spec, Json& pod_spec);
// The runtime's own metadata for all pods, then that of the block, which wins.
void MergeMetadata(const Json& runtime_spec, const Json& block, Json& metadata);

// The cache server of one worker, memcached, as the runtime's spec cuts it.
struct CacheServer {
  Json args = Json::array();
  Json env = Json::array();
  Json resources;
  Json volumes = Json::array();
  Json volume_mounts = Json::array();
  // Host directories belong to root at first; these are given to the server's user.
  std::vector<std::string> host_directories = {};
  PoolSecurity security = {};
};
Result<CacheServer> PlanCacheServer(const PlanInput& input, const RuntimeIdentity& identity,
                                    std::vector<std::string>& notes);

// Service and StatefulSet of the workers, none where there are no workers and never were any.
struct WorkerPlan {
  // Nothing when the spec cannot be understood: clients then use no pool, or they would store in
  // the clear what was going to be encrypted.
  std::optional<PoolSecurity> security = PoolSecurity{};
  std::vector<PlannedObject> objects = {};
  Json secret = {};                 // RuntimePlan::worker_secret
  std::optional<TlsPlan> tls = {};  // likewise
  Json pool_key = {};               // likewise
};
Result<WorkerPlan> PlanWorkers(const PlanInput& input, const RuntimeIdentity& identity,
                               std::vector<std::string>& notes);
// Those ready workers that the runtime still asks for.
std::vector<PoolMember> MembersToList(const PlanInput& input, const RuntimeIdentity& identity);

// Labels and owner of what belongs to one component ("fuse", "worker") of the runtime.
Json SelectorLabels(const PlanInput& input, const RuntimeIdentity& identity,
                    const std::string& component);
Json WorkloadLabels(const PlanInput& input, const RuntimeIdentity& identity,
                    const std::string& component);
struct Workload {
  std::string name;
  std::string component;
};
Json WorkloadMetadata(const PlanInput& input, const RuntimeIdentity& identity,
                      const Workload& workload);
// Labels of the pods: the user's may add to ours but not replace them.
void AddPodLabels(const Json& labels, Json& pod);

// PV and PVC.
Result<std::vector<PlannedObject>> PlanVolumes(const PlanInput& input,
                                               const RuntimeIdentity& identity);

}  // namespace sluice::plan
