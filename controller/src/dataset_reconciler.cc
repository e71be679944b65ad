#include "sluice/controller/dataset_reconciler.h"

#include <array>

#include <fmt/format.h>

#include "sluice/certs/worker_secrets.h"
#include "sluice/core/json_access.h"

namespace sluice::controller {
namespace {

// A pod is named in an event; more names would only be noise.
constexpr std::size_t kMaxNamedPods = 10;
constexpr const char* kServiceNameLabel = "kubernetes.io/service-name";

std::string UidOfDataset(const Observation& seen) {
  if (seen.dataset.is_object()) return StringAt(seen.dataset, "/metadata/uid");
  for (const Json& owner : ItemsOf(ChildOf(seen.runtime, "metadata"), "ownerReferences")) {
    if (StringOf(owner, "kind") == resources::kDataset.kind) return StringOf(owner, "uid");
  }
  return "";
}

}  // namespace

const std::vector<ResourceType>& OtherRuntimeTypes() {
  static const std::vector<ResourceType> kTypes = [] {
    std::vector<ResourceType> types;
    for (const auto& [plural, kind] : std::array<std::pair<const char*, const char*>, 7>{
             {{"alluxioruntimes", "AlluxioRuntime"},
              {"cacheruntimes", "CacheRuntime"},
              {"efcruntimes", "EFCRuntime"},
              {"jindoruntimes", "JindoRuntime"},
              {"juicefsruntimes", "JuiceFSRuntime"},
              {"thinruntimes", "ThinRuntime"},
              {"vineyardruntimes", "VineyardRuntime"}}}) {
      types.push_back({.group = resources::kDataset.group,
                       .version = resources::kDataset.version,
                       .plural = plural,
                       .kind = kind,
                       .namespaced = true});
    }
    return types;
  }();
  return kTypes;
}

DatasetReconciler::DatasetReconciler(const EngineProfile& profile, PlanSettings settings,
                                     DecisionTiming timing, ReconcilerDependencies dependencies)
    : profile_(profile),
      settings_(std::move(settings)),
      timing_(timing),
      with_(std::move(dependencies)) {}

Result<Json> DatasetReconciler::GetLive(const ResourceType& type, const ObjectKey& key) {
  auto object = with_.cluster.Get(type, key);
  if (!object && object.error().code == Code::kNotFound) return Json();
  return object;
}

Result<Json> DatasetReconciler::GetKnown(const ResourceType& type, const ObjectKey& key) {
  if (auto known = with_.known.Find(type, key)) return Json(**known);
  // The snapshot holds labelled objects only; one without our labels may be somebody else's.
  return GetLive(type, key);
}

Result<Observation> DatasetReconciler::Observe(const ObjectKey& key) {
  Observation seen{.key = key};
  // Live: deciding on a status that we have just replaced would rewrite its times.
  SLUICE_TRY(dataset, GetLive(resources::kDataset, key), "observe");
  SLUICE_TRY(runtime, GetLive(profile_.runtime, key), "observe");
  seen.dataset = std::move(dataset);
  seen.runtime = std::move(runtime);
  if (seen.dataset.is_null() && seen.runtime.is_null()) return seen;
  for (const ResourceType& type : OtherRuntimeTypes()) {
    if (auto other = with_.known.Find(type, key)) seen.other_runtimes.push_back(**other);
  }
  const bool tear_down = NeedsTearDown(profile_, seen);
  if (!tear_down && (seen.dataset.is_null() || seen.runtime.is_null())) return seen;
  SLUICE_CHECK(ObserveObjects(seen, tear_down), "observe");
  if (tear_down) {
    SLUICE_CHECK(ObserveUsers(seen, IdentityOf(profile_, key, UidOfDataset(seen), settings_)),
                 "observe");
  } else {
    SLUICE_CHECK(ObserveSecrets(seen), "observe");
    SLUICE_CHECK(ObserveWorkers(seen), "observe");
  }
  return seen;
}

Status DatasetReconciler::ObserveObjects(Observation& seen, bool live) {
  const RuntimeIdentity identity = IdentityOf(profile_, seen.key, UidOfDataset(seen), settings_);
  const std::string& ns = identity.ns;
  std::vector<std::pair<ResourceType, ObjectKey>> wanted = {
      {resources::kPersistentVolume, {"", identity.persistent_volume}},
      {resources::kPersistentVolumeClaim, {ns, identity.name}},
      {resources::kConfigMap, {ns, identity.config_map}},
      {resources::kDaemonSet, {ns, identity.daemon_set}},
      {resources::kPodTemplate, {ns, identity.pod_template}}};
  // Where no workers are asked for, none are looked for at the API server but once, at the end.
  const ObjectKey workers{ns, identity.workers};
  const Json& replicas = ValueAt(seen.runtime, "/spec/replicas");
  if (live || (replicas.is_number_integer() && replicas > 0) ||
      with_.known.Find(resources::kStatefulSet, workers)) {
    wanted.emplace_back(resources::kStatefulSet, workers);
    wanted.emplace_back(resources::kService, workers);
  }
  for (const auto& [type, key] : wanted) {
    // Deciding on an older number of workers would hold back those that have gone.
    const bool is_workers = type == resources::kStatefulSet;
    auto object = live || is_workers ? GetLive(type, key) : GetKnown(type, key);
    if (!object) return Fail(object.error());
    if (object->is_object()) seen.objects[{type, key}] = std::move(*object);
  }
  return Ok();
}

Status DatasetReconciler::ObserveSecrets(Observation& seen) {
  const auto plan = PlanRuntime({.profile = profile_,
                                 .dataset = seen.dataset,
                                 .runtime = seen.runtime,
                                 .settings = settings_});
  if (!plan) return Ok();  // the decision will say what is wrong
  for (const auto& [name, wanted] : plan->secret_keys) {
    SecretState& state = seen.secrets[name];
    auto secret = with_.cluster.Get(resources::kSecret, {seen.key.ns, name});
    if (secret) {
      state.exists = true;
      for (const auto& [key, value] : ChildOf(*secret, "data").items()) state.keys.insert(key);
    } else if (secret.error().code == Code::kPermissionDenied) {
      state.readable = false;
    } else if (secret.error().code != Code::kNotFound) {
      return Fail(secret.error());
    }
  }
  return Ok();
}

Status DatasetReconciler::ObserveWorkers(Observation& seen) {
  const RuntimeIdentity identity = IdentityOf(profile_, seen.key, UidOfDataset(seen), settings_);
  if (!seen.Find(resources::kService, {identity.ns, identity.workers}).is_object()) return Ok();
  SLUICE_TRY(slices,
             with_.cluster.List(
                 resources::kEndpointSlice,
                 {.ns = identity.ns,
                  .label_selector = fmt::format("{}={}", kServiceNameLabel, identity.workers)}),
             "cache workers");
  seen.worker_slices = std::move(slices.items);
  return Ok();
}

Status DatasetReconciler::ObserveUsers(Observation& seen, const RuntimeIdentity& identity) {
  SLUICE_TRY(pods, with_.cluster.List(resources::kPod, {.ns = identity.ns}), "users");
  for (const Json& pod : pods.items) {
    if (PodUsesDataset(pod, identity) && seen.pods_in_use.size() < kMaxNamedPods) {
      seen.pods_in_use.push_back(KeyOf(pod).ToString());
    }
  }
  SLUICE_TRY(nodes, with_.cluster.List(resources::kNode, {.label_selector = identity.fuse_label}),
             "labelled nodes");
  for (const Json& node : nodes.items) seen.labelled_nodes.push_back(KeyOf(node).name);
  for (const Json& entry : ItemsOf(ChildOf(seen.dataset, "status"), "datasetRef")) {
    const std::string text = entry.is_string() ? entry.get<std::string>() : "";
    const auto slash = text.find('/');
    if (slash == std::string::npos) continue;
    auto reference = GetLive(resources::kDataset, {text.substr(0, slash), text.substr(slash + 1)});
    if (reference && reference->is_object()) seen.live_references.push_back(text);
  }
  return Ok();
}

Status DatasetReconciler::Do(const Action& action) {
  Cluster& cluster = with_.cluster;
  const auto status_of = [](Result<Json> result) -> Status {
    if (!result) return Fail(result.error());
    return Ok();
  };
  switch (action.kind) {
    case Action::Kind::kApply:
      return status_of(cluster.Apply(action.type, action.body));
    case Action::Kind::kApplyStatus:
      return status_of(cluster.ApplyStatus(action.type, action.body));
    case Action::Kind::kMergePatch: {
      Status patched =
          status_of(cluster.MergePatch(action.type, action.key, action.body, action.subresource));
      // What is gone needs no patch.
      if (!patched && patched.error().code == Code::kNotFound) return Ok();
      return patched;
    }
    case Action::Kind::kDelete: {
      Status deleted = cluster.Delete(action.type, action.key, {.uid = action.uid});
      if (!deleted &&
          (deleted.error().code == Code::kNotFound || deleted.error().code == Code::kConflict)) {
        return Ok();
      }
      return deleted;
    }
    case Action::Kind::kMakeCredentials:
      return MakeSecret(action, kWorkerSecretKey, "sluice:");
    case Action::Kind::kMakePoolKey:
      return MakeSecret(action, kPoolKeyKey, "");
    case Action::Kind::kRenewCertificates:
      return RenewCertificates(action);
  }
  return Fail(Code::kInternal, "unknown action");
}

// One that exists stays as it is.
Status DatasetReconciler::MakeSecret(const Action& action, const char* key, const char* prefix) {
  SLUICE_TRY(random, with_.make_secret(), fmt::format("Secret {}", action.key.ToString()));
  Json secret = action.body;
  secret["stringData"] = {{key, fmt::format("{}{}\n", prefix, random)}};
  auto created = with_.cluster.Create(resources::kSecret, secret);
  if (!created && created.error().code != Code::kAlreadyExists) return Fail(created.error());
  return Ok();
}

Status DatasetReconciler::RenewCertificates(const Action& action) {
  auto issued = certs::EnsureWorkerSecrets(with_.cluster,
                                           {.authority = action.tls->authority,
                                            .worker = action.tls->worker,
                                            .client = action.tls->client,
                                            .domain = action.tls->domain},
                                           with_.clock.WallNow());
  if (!issued) {
    Error error = issued.error().Wrap("TLS of the cache workers");
    if (error.code == Code::kPermissionDenied) {
      error.message +=
          "; let the controller read and replace Secrets (dataset.workerTls of the "
          "chart), or leave worker.options.tls out";
    }
    return Fail(std::move(error));
  }
  if (*issued) {
    with_.log.Info("certificates of the cache workers are issued",
                   {{"namespace", action.key.ns}, {"domain", action.tls->domain}});
  }
  return Ok();
}

Status DatasetReconciler::Act(const Decision& decision) {
  for (const Action& action : decision.actions) {
    if (Status done = Do(action); !done) return done;
  }
  return Ok();
}

void DatasetReconciler::Emit(const Decision& decision) {
  for (const PlannedEvent& event : decision.events) {
    with_.emit(event);
    if (!event.warning) continue;
    const ObjectKey key = KeyOf(event.about);
    with_.log.Warn("dataset needs attention", {{"namespace", key.ns},
                                               {"name", key.name},
                                               {"reason", event.reason},
                                               {"detail", event.message}});
  }
}

Result<std::optional<std::chrono::seconds>> DatasetReconciler::Reconcile(const ObjectKey& key) {
  auto seen = Observe(key);
  if (!seen) return Fail(seen.error());
  const DecisionInput input{.profile = profile_,
                            .seen = *seen,
                            .settings = settings_,
                            .timing = timing_,
                            .now = with_.clock.WallNow()};
  const Decision decision = Decide(input);
  if (Status acted = Act(decision); !acted) {
    const Decision report = DecideAfterFailure(input, acted.error());
    if (report.actions.empty() && report.events.empty()) return Fail(acted.error());
    with_.metrics
        .AddCounter("runtime_setup_error_total", "Failed setups of a runtime",
                    {{"runtime_type", profile_.runtime.kind}, {"runtime", key.ToString()}})
        .Add();
    Emit(report);
    if (Status reported = Act(report); !reported) return Fail(reported.error());
    return report.requeue_after;
  }
  // Only now: an event about a success that did not happen would be wrong.
  Emit(decision);
  return decision.requeue_after;
}

}  // namespace sluice::controller
