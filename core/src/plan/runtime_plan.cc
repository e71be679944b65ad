#include "sluice/core/runtime_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/mount_options.h"
#include "sluice/core/names.h"

#include "plan/plan_parts.h"

namespace sluice {
namespace {

constexpr const char* kFuse = "fuse";

// Endpoint and credentials make sense, so that the mistake is told here and not by a pod.
Status CheckOptions(const std::vector<MountConfig>& mounts) {
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    SLUICE_CHECK(CheckMountOptions(mounts[i]), fmt::format("spec.mounts[{}]", i));
  }
  return Ok();
}

std::map<std::string, std::set<std::string>> SecretKeys(const std::vector<MountConfig>& mounts) {
  std::map<std::string, std::set<std::string>> keys;
  for (const MountConfig& mount : mounts) {
    for (const auto& [option, file] : mount.secret_files) {
      const std::string path = file.substr(names::kSecretRoot.size() + 1);
      const auto slash = path.find('/');
      keys[path.substr(0, slash)].insert(path.substr(slash + 1));
    }
  }
  return keys;
}

Json RenderDaemonSet(const PlanInput& input, const RuntimeIdentity& identity, Json pod) {
  plan::AddPodLabels(plan::WorkloadLabels(input, identity, kFuse), pod);
  return {{"apiVersion", "apps/v1"},
          {"kind", "DaemonSet"},
          {"metadata", plan::WorkloadMetadata(input, identity, {identity.daemon_set, kFuse})},
          {"spec",
           {{"selector", {{"matchLabels", plan::SelectorLabels(input, identity, kFuse)}}},
            {"updateStrategy", {{"type", "OnDelete"}}},
            {"template", std::move(pod)}}}};
}

Json RenderPodTemplate(const PlanInput& input, const RuntimeIdentity& identity, Json pod) {
  return {{"apiVersion", "v1"},
          {"kind", "PodTemplate"},
          {"metadata", plan::WorkloadMetadata(input, identity, {identity.pod_template, kFuse})},
          {"template", std::move(pod)}};
}

Json RenderConfigMap(const PlanInput& input, const RuntimeIdentity& identity,
                     const FuseConfig& config) {
  Json data = {{"config.json", RenderFuseConfig(config).dump()}};
  if (!config.pool.members_file.empty()) {
    data["workers.json"] = RenderPoolMembers(plan::MembersToList(input, identity)).dump();
  }
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata", plan::WorkloadMetadata(input, identity, {identity.config_map, kFuse})},
          {"data", std::move(data)}};
}

// Clients follow the list of workers from their start on, also while it is empty, so that workers
// that come later are used by those that run.
PoolConfig PoolOf(const PlanInput& input, const RuntimeIdentity& identity,
                  const std::optional<plan::PoolSecurity>& security) {
  PoolConfig pool;
  if (!input.profile.worker.is_object() || !security) return pool;
  pool.members_file = names::kPoolMembersFile;
  if (security->authentication) {
    pool.credentials_file =
        fmt::format("{}/{}/{}", names::kSecretRoot, identity.worker_secret, kWorkerSecretKey);
  }
  if (security->tls) {
    pool.tls_directory = fmt::format("{}/{}", names::kSecretRoot, identity.client_tls);
    pool.tls_domain = identity.worker_domain;
  }
  if (security->encryption) {
    pool.key_file = fmt::format("{}/{}/{}", names::kSecretRoot, identity.pool_key, kPoolKeyKey);
  }
  return pool;
}

// Where a dataset asks for writing and gets less.
void NoteWriting(const Json& dataset, const std::vector<MountConfig>& mounts,
                 std::vector<std::string>& notes) {
  const Json& modes = ItemsOf(ChildOf(dataset, "spec"), "accessModes");
  if (modes.size() > 1 && std::ranges::find(modes, "ReadOnlyMany") != modes.end()) {
    notes.emplace_back("spec.accessModes: with ReadOnlyMany among them the dataset is only read");
  }
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const auto uri = ParseMountUri(mounts[i].mount_point);
    if (mounts[i].read_only || !uri || (!IsWeb(uri->scheme) && uri->scheme != "hf")) continue;
    notes.push_back(fmt::format(
        "spec.mounts[{}]: {} takes no new files; this mount is only read whatever spec.accessModes "
        "say",
        i, uri->scheme));
  }
}

Result<RuntimePlan> Plan(const PlanInput& input) {
  RuntimePlan plan;
  plan.identity = IdentityOf(input.profile, KeyOf(input.dataset),
                             StringAt(input.dataset, "/metadata/uid"), input.settings);
  auto mounts = MountsOf(input.dataset);
  if (!mounts) return Fail(mounts.error());
  if (Status options = CheckOptions(*mounts); !options) return Fail(options.error());
  plan.secret_keys = SecretKeys(*mounts);
  plan.workers = plan::WantedWorkers(input);
  auto client = plan::ReadClientOptions(input, plan.notes);
  if (!client) return Fail(client.error());
  auto cache = plan::PlanCache(input, client->memory_budget, plan.notes);
  if (!cache) return Fail(cache.error());
  auto workers = plan::PlanWorkers(input, plan.identity, plan.notes);
  if (!workers) return Fail(workers.error());
  auto volumes = plan::PlanVolumes(input, plan.identity);
  if (!volumes) return Fail(volumes.error());
  NoteWriting(input.dataset, *mounts, plan.notes);
  const plan::SourcePlan sources = plan::PlanSources(*mounts);

  cache->config.pinned = std::move(client->pinned);

  const Json& modes = ValueAt(volumes->back().object, "/spec/accessModes");
  plan.config = {.mounts = std::move(*mounts),
                 .target_path = plan.identity.mount_path,
                 .access_modes = modes.get<std::vector<std::string>>(),
                 .cache = cache->config,
                 .pool = PoolOf(input, plan.identity, workers->security),
                 .appearance = client->appearance,
                 .dataset_namespace = plan.identity.ns,
                 .dataset_name = plan.identity.name,
                 .dataset_uid = plan.identity.dataset_uid};
  const plan::FusePodInput pod{.plan = input,
                               .identity = plan.identity,
                               .cache = *cache,
                               .sources = sources,
                               .secret_keys = plan.secret_keys,
                               .pool_security = workers->security.value_or(plan::PoolSecurity{})};
  plan.objects.push_back({.type = resources::kConfigMap,
                          .object = RenderConfigMap(input, plan.identity, plan.config)});
  plan.objects.push_back(
      {.type = resources::kDaemonSet,
       .object = RenderDaemonSet(input, plan.identity,
                                 plan::RenderFusePod(pod, input.profile.node_client))});
  if (input.profile.sidecar.is_object()) {
    plan.objects.push_back(
        {.type = resources::kPodTemplate,
         .object = RenderPodTemplate(input, plan.identity,
                                     plan::RenderFusePod(pod, input.profile.sidecar))});
  }
  plan.worker_secret = std::move(workers->secret);
  plan.tls = std::move(workers->tls);
  plan.pool_key = std::move(workers->pool_key);
  std::ranges::move(workers->objects, std::back_inserter(plan.objects));
  std::ranges::move(*volumes, std::back_inserter(plan.objects));
  return plan;
}

}  // namespace

namespace plan {

Json SelectorLabels(const PlanInput& input, const RuntimeIdentity& identity,
                    const std::string& component) {
  const std::string& app = input.profile.app;
  return {{"app", app}, {"release", identity.name}, {"role", app + "-" + component}};
}

Json WorkloadLabels(const PlanInput& input, const RuntimeIdentity& identity,
                    const std::string& component) {
  Json labels = SelectorLabels(input, identity, component);
  labels["heritage"] = "sluice";
  labels["chart"] = input.profile.app;
  labels["app.kubernetes.io/name"] = input.profile.app;
  labels["app.kubernetes.io/instance"] = identity.name;
  labels["app.kubernetes.io/managed-by"] = "sluice";
  labels[kManagedByLabel] = "fluid";
  labels[kDatasetIdLabel] = identity.dataset_id;
  return labels;
}

Json WorkloadMetadata(const PlanInput& input, const RuntimeIdentity& identity,
                      const Workload& workload) {
  return {{"name", workload.name},
          {"namespace", identity.ns},
          {"labels", WorkloadLabels(input, identity, workload.component)},
          {"ownerReferences", Json::array({{{"apiVersion", input.profile.runtime.ApiVersion()},
                                            {"kind", input.profile.runtime.kind},
                                            {"name", identity.name},
                                            {"uid", StringAt(input.runtime, "/metadata/uid")},
                                            {"controller", true},
                                            {"blockOwnerDeletion", false}}})}};
}

void AddPodLabels(const Json& labels, Json& pod) {
  Json& own = ObjectIn(ObjectIn(pod, "metadata"), "labels");
  for (const auto& [key, value] : labels.items()) own[key] = value;
}

}  // namespace plan

bool IsDnsLabel(const std::string& name) {
  constexpr std::size_t kMaxLength = 63;
  if (name.empty() || name.size() > kMaxLength || name.front() < 'a' || name.front() > 'z' ||
      name.back() == '-') {
    return false;
  }
  return std::ranges::all_of(
      name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

RuntimeIdentity IdentityOf(const EngineProfile& profile, const ObjectKey& key,
                           const std::string& dataset_uid, const PlanSettings& settings) {
  return {.ns = key.ns,
          .name = key.name,
          .dataset_uid = dataset_uid,
          .dataset_id = names::DatasetId(key.ns, key.name, dataset_uid),
          .worker_label = names::WorkerLabel(key.ns, key.name, dataset_uid),
          .fuse_label = names::FuseLabel(key.ns, key.name, dataset_uid),
          .persistent_volume = names::PersistentVolumeName(key.ns, key.name),
          .config_map = key.name + profile.config_suffix,
          .daemon_set = key.name + "-fuse",
          .pod_template = key.name + "-fuse-sidecar",
          .workers = key.name + "-worker",
          .worker_secret = key.name + "-worker-auth",
          .worker_authority = key.name + "-worker-ca",
          .worker_tls = key.name + "-worker-tls",
          .client_tls = key.name + "-client-tls",
          .worker_domain = fmt::format("{}-worker.{}.svc", key.name, key.ns),
          .pool_key = key.name + "-pool-key",
          .mount_path = fmt::format("{}/{}/{}/{}/{}", settings.mount_root, profile.type, key.ns,
                                    key.name, profile.mount_leaf)};
}

Result<RuntimePlan> PlanRuntime(const PlanInput& input) {
  auto plan = Plan(input);
  if (!plan) return Fail(plan.error());
  return plan;
}

}  // namespace sluice
