// What a Dataset and its runtime need in the cluster: pure rendering, one set of objects for one
// pair. Applying the result twice changes nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sluice/core/engine_profile.h"
#include "sluice/core/fuse_config.h"
#include "sluice/core/pool_members.h"
#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice {

struct PlanSettings {
  std::string fuse_image;  // used when the runtime names none
  std::string fuse_pull_policy = "IfNotPresent";
  std::string worker_image = "memcached:1.6.39-bookworm";  // likewise
  std::string worker_pull_policy = "IfNotPresent";
  std::string mount_root = "/runtime-mnt";
  bool critical_fuse_pod = true;  // priorityClass system-node-critical
};

// Names that belong to one pair of Dataset and runtime.
struct RuntimeIdentity {
  std::string ns;
  std::string name;
  std::string dataset_uid;
  std::string dataset_id;         // value of label fluid.io/dataset-id
  std::string worker_label;       // fluid.io/s-…
  std::string fuse_label;         // fluid.io/f-…
  std::string persistent_volume;  // also the volume handle
  std::string config_map;
  std::string daemon_set;
  std::string pod_template;
  std::string workers;        // StatefulSet and Service of the cache workers
  std::string worker_secret;  // their "user:password"
  // For TLS between them and the clients: Secrets of the authority, the workers and the clients,
  // and the name above the workers'.
  std::string worker_authority;
  std::string worker_tls;
  std::string client_tls;
  std::string worker_domain;
  std::string pool_key;    // Secret of the key by which clients encrypt chunks
  std::string mount_path;  // fluid_path
};
RuntimeIdentity IdentityOf(const EngineProfile& profile, const ObjectKey& key,
                           const std::string& dataset_uid, const PlanSettings& settings);

struct PlannedObject {
  ResourceType type;
  Json object;
};

// Secrets of TLS without their values, which the controller makes and renews. The authority's is
// mounted nowhere.
struct TlsPlan {
  Json authority;
  Json worker;         // ca.crt, tls.crt and tls.key
  Json client;         // likewise
  std::string domain;  // that the workers' certificate covers
};

struct RuntimePlan {
  RuntimeIdentity identity;
  FuseConfig config;
  // In the order of creation; the PVC is last, so that who finds it finds everything.
  std::vector<PlannedObject> objects;
  std::int32_t workers = 0;  // cache workers that the runtime asks for
  // The Secret of the workers, without its value: who carries the plan out makes one under
  // kWorkerSecretKey where there is none yet. Null: no worker asks for credentials.
  Json worker_secret;
  std::optional<TlsPlan> tls;  // nothing: workers and clients do without
  Json pool_key;               // the same as worker_secret, under kPoolKeyKey; null: no encryption
  // Keys that must be there, by Secret.
  std::map<std::string, std::set<std::string>> secret_keys;
  // What the specs ask for and this version does not do: one sentence each that names the field.
  std::vector<std::string> notes;
};

// What is there of the cache workers already.
struct PoolState {
  bool exists = false;            // the StatefulSet, even with no replicas
  std::vector<PoolMember> ready;  // those that answer
};

struct PlanInput {
  const EngineProfile& profile;
  const Json& dataset;
  const Json& runtime;
  const PlanSettings& settings;
  PoolState pool = {};
};

// kInvalidArgument with a message that names object, field and fix. Secret values never occur in
// the result: encrypted options become paths of files.
Result<RuntimePlan> PlanRuntime(const PlanInput& input);

// The Dataset's mounts as the FUSE client gets them, shared options merged in.
Result<std::vector<MountConfig>> MountsOf(const Json& dataset);

// A DNS-1035 label: at most 63 of [a-z0-9-], a letter first, no '-' last.
bool IsDnsLabel(const std::string& name);

inline constexpr const char* kCreatedByAnnotation = "CreatedBy";  // "fluid" on PV and PVC
inline constexpr const char* kDatasetIdLabel = "fluid.io/dataset-id";
inline constexpr const char* kManagedByLabel = "fluid.io/managed-by";
inline constexpr int kWorkerPort = 11211;
inline constexpr const char* kWorkerSecretKey = "users";  // a line "user:password"
inline constexpr const char* kPoolKeyKey = "key";         // 64 hexadecimal digits
inline constexpr const char* kGenerationLabel = "fuse.runtime.fluid.io/generation";

}  // namespace sluice
