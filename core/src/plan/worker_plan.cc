#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/placement.h"

#include "plan/plan_parts.h"

namespace sluice::plan {
namespace {

using placement::Expression;
using placement::Term;

constexpr const char* kWorker = "worker";
constexpr const char* kHostname = "kubernetes.io/hostname";
// Of every cache worker, whatever its engine: who wants a node for itself looks for it.
constexpr const char* kDatasetLabel = "fluid.io/dataset";
constexpr const char* kPlacementLabel = "fluid.io/dataset-placement";
constexpr int kServerUser = 11211;

// The ordinal of a pod of the StatefulSet; nothing for other names.
std::optional<std::int32_t> OrdinalOf(const std::string& pod, const std::string& stateful_set) {
  const std::string prefix = stateful_set + "-";
  if (!pod.starts_with(prefix)) return {};
  std::int32_t ordinal = 0;
  const char* const end = pod.data() + pod.size();
  const auto [last, error] = std::from_chars(pod.data() + prefix.size(), end, ordinal);
  if (error != std::errc() || last != end || ordinal < 0) return {};
  return ordinal;
}

Json RenderService(const PlanInput& input, const RuntimeIdentity& identity) {
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", WorkloadMetadata(input, identity, {identity.workers, kWorker})},
          {"spec",
           {{"clusterIP", "None"},
            {"publishNotReadyAddresses", false},
            {"selector", SelectorLabels(input, identity, kWorker)},
            {"ports", Json::array({{{"name", "memcached"},
                                    {"port", kWorkerPort},
                                    {"targetPort", "memcached"},
                                    {"protocol", "TCP"}}})}}}};
}

Json OnOneNode(Json selector) {
  return {{"labelSelector", std::move(selector)}, {"topologyKey", kHostname}};
}

bool IsExclusive(const PlanInput& input) {
  return StringAt(input.dataset, "/spec/placement") == "Exclusive";
}

// Workers keep apart where they can. Only a Dataset that says Exclusive gets nodes of its own:
// memcached pods share neither ports nor directories, so nothing else forbids to share a node.
Json PodAntiAffinity(const PlanInput& input, const RuntimeIdentity& identity) {
  constexpr int kOwnWeight = 100;
  constexpr int kOthersWeight = 50;
  const Json own = {{"matchLabels", SelectorLabels(input, identity, kWorker)}};
  const Json others = Term({Expression(kDatasetLabel, "Exists", {})});
  const Json exclusive = Term({Expression(kPlacementLabel, "In", {"Exclusive"})});
  Json anti = {
      {"preferredDuringSchedulingIgnoredDuringExecution",
       Json::array({{{"weight", kOwnWeight}, {"podAffinityTerm", OnOneNode(own)}},
                    {{"weight", kOthersWeight}, {"podAffinityTerm", OnOneNode(others)}}})}};
  anti["requiredDuringSchedulingIgnoredDuringExecution"] =
      Json::array({OnOneNode(IsExclusive(input) ? others : exclusive)});
  return anti;
}

Json NodeAffinity(const PlanInput& input, const RuntimeIdentity& identity) {
  constexpr int kWeight = 100;
  const Json has_client = Term({Expression(identity.fuse_label, "In", {"true"})});
  Json affinity = {{"preferredDuringSchedulingIgnoredDuringExecution",
                    Json::array({placement::Preference(kWeight, has_client)})}};
  const Json& required = ValueAt(input.dataset, "/spec/nodeAffinity/required");
  if (required.is_object() && !required.empty()) {
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = required;
  }
  return affinity;
}

void Place(const PlanInput& input, const RuntimeIdentity& identity, Json& spec) {
  const Json& worker = ChildOf(ChildOf(input.runtime, "spec"), kWorker);
  spec["affinity"] = {{"nodeAffinity", NodeAffinity(input, identity)},
                      {"podAntiAffinity", PodAntiAffinity(input, identity)}};
  if (const Json& selector = ChildOf(worker, "nodeSelector"); !selector.empty()) {
    spec["nodeSelector"] = selector;
  }
  Json tolerations = ItemsOf(ChildOf(input.dataset, "spec"), "tolerations");
  for (const Json& toleration : ItemsOf(worker, "tolerations")) tolerations.push_back(toleration);
  if (!tolerations.empty()) spec["tolerations"] = std::move(tolerations);
}

// Directories of the node are root's; the server is not. Its file is worth nothing after it, so it
// is removed with the pod.
void UseHostDirectories(const CacheServer& server, Json& spec, Json& container) {
  if (server.host_directories.empty()) return;
  Json command = {"chown", fmt::format("{0}:{0}", kServerUser)};
  Json mounts = Json::array();
  for (const std::string& directory : server.host_directories) command.push_back(directory);
  for (const Json& mount : server.volume_mounts) {
    const std::string path = StringOf(mount, "mountPath");
    if (std::ranges::find(server.host_directories, path) != server.host_directories.end()) {
      mounts.push_back(mount);
    }
  }
  spec["initContainers"] = Json::array(
      {{{"name", "own-directories"},
        {"image", container["image"]},
        {"imagePullPolicy", container["imagePullPolicy"]},
        {"command", std::move(command)},
        {"volumeMounts", std::move(mounts)},
        {"resources",
         {{"requests", {{"cpu", "10m"}, {"memory", "16Mi"}}}, {"limits", {{"memory", "64Mi"}}}}},
        {"securityContext",
         {{"runAsNonRoot", false},
          {"runAsUser", 0},
          {"allowPrivilegeEscalation", false},
          {"readOnlyRootFilesystem", true},
          {"capabilities", {{"drop", {"ALL"}}, {"add", {"CHOWN"}}}}}}}});
  container["lifecycle"] = {
      {"preStop", {{"exec", {{"command", {"sh", "-c", "rm -f /cache/*/\"$POD_NAME\""}}}}}}};
}

Json RenderPod(const PlanInput& input, const RuntimeIdentity& identity, const CacheServer& server) {
  const Json& runtime_spec = ChildOf(input.runtime, "spec");
  const Json& worker = ChildOf(runtime_spec, kWorker);
  Json pod = input.profile.worker;
  Json& spec = ObjectIn(pod, "spec");
  Json& container = spec["containers"].front();
  SetImage(worker,
           {.image = input.settings.worker_image, .pull_policy = input.settings.worker_pull_policy},
           container);
  container["args"] = server.args;
  container["resources"] = server.resources;
  if (!server.env.empty()) container["env"] = server.env;
  if (worker.contains("env")) AppendEnv(worker, container);
  if (!server.volumes.empty()) {
    spec["volumes"] = server.volumes;
    container["volumeMounts"] = server.volume_mounts;
  }
  UseHostDirectories(server, spec, container);
  Place(input, identity, spec);
  SetPullSecrets(runtime_spec, spec);
  MergeMetadata(runtime_spec, worker, ObjectIn(pod, "metadata"));
  Json labels = WorkloadLabels(input, identity, kWorker);
  labels[kDatasetLabel] = identity.dataset_id;
  labels[kPlacementLabel] = IsExclusive(input) ? "Exclusive" : "Shared";
  AddPodLabels(labels, pod);
  return pod;
}

Json RenderStatefulSet(const PlanInput& input, const RuntimeIdentity& identity, Json pod) {
  return {{"apiVersion", "apps/v1"},
          {"kind", "StatefulSet"},
          {"metadata", WorkloadMetadata(input, identity, {identity.workers, kWorker})},
          {"spec",
           {{"replicas", WantedWorkers(input)},
            {"serviceName", identity.workers},
            {"podManagementPolicy", "Parallel"},
            {"updateStrategy", {{"type", "OnDelete"}}},
            {"selector", {{"matchLabels", SelectorLabels(input, identity, kWorker)}}},
            {"template", std::move(pod)}}}};
}

// What other runtimes' workers have and these do not must not be taken for granted.
void NoteUnknownFields(const Json& runtime, std::vector<std::string>& notes) {
  constexpr std::array<std::string_view, 11> kKnown = {
      "disabled", "enabled",      "env",         "image",     "imagePullPolicy", "imageTag",
      "options",  "nodeSelector", "podMetadata", "resources", "tolerations"};
  for (const auto& [name, value] : ChildOf(ChildOf(runtime, "spec"), kWorker).items()) {
    if (std::ranges::find(kKnown, name) == kKnown.end()) {
      notes.push_back(fmt::format("spec.worker.{}: has no effect on this runtime's workers", name));
    }
  }
}

Json RenderSecret(const PlanInput& input, const RuntimeIdentity& identity,
                  const std::string& name) {
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"metadata", WorkloadMetadata(input, identity, {name, kWorker})},
          {"type", "Opaque"}};
}

}  // namespace

std::int32_t WantedWorkers(const PlanInput& input) {
  const Json& replicas = ValueAt(input.runtime, "/spec/replicas");
  const Json& disabled = ValueAt(input.runtime, "/spec/worker/disabled");
  const Json& enabled = ValueAt(input.runtime, "/spec/worker/enabled");
  if (!input.profile.worker.is_object() || !replicas.is_number_integer() || disabled == true ||
      enabled == false) {
    return 0;
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(replicas.get<std::int64_t>(), 0, kMost));
}

std::vector<PoolMember> MembersToList(const PlanInput& input, const RuntimeIdentity& identity) {
  const std::int32_t wanted = WantedWorkers(input);
  std::vector<PoolMember> members;
  for (const PoolMember& member : input.pool.ready) {
    const auto ordinal = OrdinalOf(member.name, identity.workers);
    if (ordinal && *ordinal < wanted) members.push_back(member);
  }
  return members;
}

Result<WorkerPlan> PlanWorkers(const PlanInput& input, const RuntimeIdentity& identity,
                               std::vector<std::string>& notes) {
  WorkerPlan plan;
  if (!input.profile.worker.is_object()) return plan;
  const bool wanted = WantedWorkers(input) > 0;
  // What is said about workers that nobody asks for is nobody's concern.
  std::vector<std::string> ignored;
  auto server = PlanCacheServer(input, identity, wanted ? notes : ignored);
  if (!server) {
    if (wanted || input.pool.exists) return Fail(server.error());
    plan.security.reset();
    return plan;
  }
  plan.security = server->security;
  if (!wanted && !input.pool.exists) return plan;
  if (wanted) NoteUnknownFields(input.runtime, notes);
  if (server->security.authentication) {
    plan.secret = RenderSecret(input, identity, identity.worker_secret);
  }
  if (server->security.tls) {
    plan.tls = TlsPlan{.authority = RenderSecret(input, identity, identity.worker_authority),
                       .worker = RenderSecret(input, identity, identity.worker_tls),
                       .client = RenderSecret(input, identity, identity.client_tls),
                       .domain = identity.worker_domain};
  }
  if (server->security.encryption) plan.pool_key = RenderSecret(input, identity, identity.pool_key);
  plan.objects.push_back({.type = resources::kService, .object = RenderService(input, identity)});
  plan.objects.push_back(
      {.type = resources::kStatefulSet,
       .object = RenderStatefulSet(input, identity, RenderPod(input, identity, *server))});
  return plan;
}

}  // namespace sluice::plan
