#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/dataset_decision.h"
#include "sluice/core/json_access.h"
#include "sluice/core/names.h"

#include "reconcile/parts.h"

namespace sluice {
namespace {

using std::chrono::seconds;
using namespace reconcile;  // NOLINT(google-build-using-namespace): its own parts

constexpr const char* kErrorCreateDataset = "ErrorCreateDataset";
constexpr const char* kErrorProcessDataset = "ErrorProcessDataset";
constexpr const char* kErrorDeleteDataset = "ErrorDeleteDataset";
constexpr const char* kErrorProcessRuntime = "ErrorProcessRuntime";
constexpr const char* kErrorValidateSpec = "ErrorValidateSpecFields";
constexpr const char* kSucceed = "Succeed";

PlannedEvent Warning(const Json& about, std::string reason, std::string message) {
  return {
      .about = about, .warning = true, .reason = std::move(reason), .message = std::move(message)};
}

std::string Title(const ResourceType& type, const ObjectKey& key) {
  return fmt::format("{} {}", type.kind, key.ToString());
}

// Finalizer and label of a Dataset; label, owner and finalizer of its runtime.
Action ClaimDataset(const DecisionInput& input) {
  Json body = Skeleton(resources::kDataset, input.seen.dataset);
  body["metadata"]["labels"] = {{kDatasetIdLabel, Identity(input).dataset_id}};
  body["metadata"]["finalizers"] = Json::array({kDatasetFinalizer});
  return {.type = resources::kDataset, .key = input.seen.key, .body = std::move(body)};
}

Action ClaimRuntime(const DecisionInput& input) {
  Json body = Skeleton(input.profile.runtime, input.seen.runtime);
  body["metadata"]["labels"] = {{kDatasetIdLabel, Identity(input).dataset_id}};
  body["metadata"]["finalizers"] = Json::array({input.profile.finalizer});
  body["metadata"]["ownerReferences"] =
      Json::array({{{"apiVersion", resources::kDataset.ApiVersion()},
                    {"kind", resources::kDataset.kind},
                    {"name", input.seen.key.name},
                    {"uid", UidOf(input.seen.dataset)}}});
  return {.type = input.profile.runtime, .key = input.seen.key, .body = std::move(body)};
}

Decision RefuseName(const DecisionInput& input) {
  Decision decision;
  const std::string advice = fmt::format(
      "metadata.name: \"{}\" is no DNS-1035 label; use at most 63 lower-case letters, digits and "
      "'-', a letter first and no '-' last",
      input.seen.key.name);
  if (input.seen.dataset.is_object()) {
    decision.events.push_back(Warning(input.seen.dataset, kErrorCreateDataset, advice));
  }
  if (input.seen.runtime.is_object()) {
    decision.events.push_back(Warning(input.seen.runtime, kErrorProcessRuntime, advice));
  }
  return decision;
}

Decision WaitForDataset(const DecisionInput& input) {
  Decision decision;
  decision.events.push_back(
      Warning(input.seen.runtime, kErrorProcessRuntime,
              fmt::format("Dataset {} does not exist; create it with the name and namespace of "
                          "this {}",
                          input.seen.key.ToString(), input.profile.runtime.kind)));
  decision.requeue_after = input.timing.no_dataset;
  return decision;
}

Decision RefuseDeletion(const DecisionInput& input) {
  Decision decision;
  std::string message;
  if (!input.seen.pods_in_use.empty()) {
    message =
        fmt::format("pods use it: {}; delete them first", fmt::join(input.seen.pods_in_use, ", "));
  } else {
    message = fmt::format("Datasets refer to it: {}; delete them first",
                          fmt::join(input.seen.live_references, ", "));
  }
  decision.events.push_back(
      Warning(input.seen.dataset, kErrorDeleteDataset,
              fmt::format("{} cannot be deleted yet: {}",
                          Title(resources::kDataset, input.seen.key), message)));
  decision.requeue_after = input.timing.in_use;
  return decision;
}

// Of several kinds with one name the bound one stays, else the oldest, else the first by kind.
const Json* Rival(const DecisionInput& input) {
  const Observation& seen = input.seen;
  const std::string bound = BoundType(seen.dataset);
  if (seen.other_runtimes.empty() || bound == input.profile.type) return nullptr;
  const auto age = [](const Json& runtime) {
    return std::pair(StringAt(runtime, "/metadata/creationTimestamp"), StringOf(runtime, "kind"));
  };
  const auto oldest = std::ranges::min_element(seen.other_runtimes, {}, age);
  return !bound.empty() || age(*oldest) < age(seen.runtime) ? &*oldest : nullptr;
}

Decision LoseToRival(const DecisionInput& input, const Json& rival) {
  Decision decision;
  decision.events.push_back(
      Warning(input.seen.runtime, kErrorProcessRuntime,
              fmt::format("Dataset {} has the {} of the same name already; a Dataset has one "
                          "runtime, delete one of them",
                          input.seen.key.ToString(), StringOf(rival, "kind"))));
  decision.requeue_after = input.timing.setup_retry;
  return decision;
}

Status CheckSecrets(const Observation& seen, const RuntimePlan& plan) {
  for (const auto& [secret, keys] : plan.secret_keys) {
    const auto found = seen.secrets.find(secret);
    if (found == seen.secrets.end() || !found->second.readable) continue;
    for (const std::string& key : keys) {
      if (found->second.keys.contains(key)) continue;
      const std::string what =
          found->second.exists
              ? fmt::format("Secret {}/{} has no key \"{}\"", seen.key.ns, secret, key)
              : fmt::format("Secret {}/{} (key \"{}\") does not exist", seen.key.ns, secret, key);
      return Fail(Code::kNotFound,
                  fmt::format("encryptOptions: {}; create it in the Dataset's namespace", what));
    }
  }
  return Ok();
}

// Fields that cannot change on an existing volume or claim stay what they are.
void KeepImmutable(const Json& existing, PlannedObject& planned, std::vector<std::string>& notes) {
  if (!existing.is_object()) return;
  const bool is_volume = planned.type == resources::kPersistentVolume;
  if (!is_volume && planned.type != resources::kPersistentVolumeClaim) return;
  const Json& now = ChildOf(existing, "spec");
  Json& wanted = planned.object["spec"];
  for (const char* field : {"accessModes", "capacity", "resources", "csi", "nodeAffinity"}) {
    const bool same = wanted.contains(field) == now.contains(field) &&
                      (!wanted.contains(field) || wanted[field] == now[field]);
    if (same) continue;
    notes.push_back(fmt::format("{} {}: a changed {} takes effect when the runtime is recreated",
                                planned.type.kind, KeyOf(existing).ToString(), field));
    wanted.erase(field);
    if (now.contains(field)) wanted[field] = now[field];
  }
}

// The generation of the FUSE DaemonSet when the claim was made.
void LabelGeneration(const Observation& seen, const RuntimePlan& plan, PlannedObject& claim) {
  const ObjectKey key = KeyOf(claim.object);
  const Json& existing = seen.Find(resources::kPersistentVolumeClaim, key);
  std::string generation =
      StringOf(ChildOf(ChildOf(existing, "metadata"), "labels"), kGenerationLabel);
  if (generation.empty()) {
    const Json& value =
        ValueAt(seen.Find(resources::kDaemonSet, {key.ns, plan.identity.daemon_set}),
                "/metadata/generation");
    generation = value.is_number_integer() ? std::to_string(value.get<std::int64_t>()) : "1";
  }
  claim.object["metadata"]["labels"][kGenerationLabel] = generation;
}

// A volume whose claim was deleted by hand waits for an administrator; ours is offered again.
void OfferAgain(const Observation& seen, const RuntimePlan& plan, Decision& decision) {
  const Json& volume =
      seen.Find(resources::kPersistentVolume, {"", plan.identity.persistent_volume});
  const Json& claim =
      seen.Find(resources::kPersistentVolumeClaim, {plan.identity.ns, plan.identity.name});
  if (claim.is_object() || StringAt(volume, "/spec/claimRef/uid").empty()) return;
  decision.actions.push_back(
      {.kind = Action::Kind::kMergePatch,
       .type = resources::kPersistentVolume,
       .key = KeyOf(volume),
       .body = {{"spec", {{"claimRef", {{"uid", nullptr}, {"resourceVersion", nullptr}}}}}}});
}

void ReportNotes(const DecisionInput& input, const RuntimePlan& plan, Decision& decision) {
  if (plan.notes.empty()) return;
  const std::string text = fmt::format("{}", fmt::join(plan.notes, "; "));
  const Json& known =
      FindCondition(ItemsOf(ChildOf(input.seen.runtime, "status"), "conditions"), "SpecHonored");
  if (StringOf(known, "message") == text) return;
  decision.events.push_back(Warning(input.seen.runtime, kErrorValidateSpec, text));
}

Decision SetupFailed(const DecisionInput& input, const Error& error) {
  const Error named = error.Wrap(Title(resources::kDataset, input.seen.key));
  Decision decision;
  decision.actions.push_back(FailedStatus(input, named));
  decision.events.push_back(Warning(input.seen.dataset, kErrorProcessDataset, named.message));
  decision.events.push_back(Warning(input.seen.runtime, kErrorProcessRuntime, named.message));
  // What is only missing often comes a moment later, from the same manifest.
  decision.requeue_after =
      error.code == Code::kNotFound ? input.timing.missing : input.timing.setup_retry;
  return decision;
}

void AppendObjects(const DecisionInput& input, RuntimePlan& plan, Decision& decision) {
  OfferAgain(input.seen, plan, decision);
  MakeCredentials(input, plan, decision);
  MakePoolKey(plan, decision);
  RenewCertificates(plan, decision);
  for (PlannedObject& planned : plan.objects) {
    const ObjectKey key = KeyOf(planned.object);
    KeepImmutable(input.seen.Find(planned.type, key), planned, plan.notes);
    if (planned.type == resources::kPersistentVolumeClaim) {
      LabelGeneration(input.seen, plan, planned);
    }
    if (const auto left = HoldWorkers(input, planned)) decision.requeue_after = left;
    decision.actions.push_back({.type = planned.type, .key = key, .body = planned.object});
  }
}

Decision SetUp(const DecisionInput& input) {
  const Observation& seen = input.seen;
  auto plan = PlanRuntime({.profile = input.profile,
                           .dataset = seen.dataset,
                           .runtime = seen.runtime,
                           .settings = input.settings,
                           .pool = ReadPool(input)});
  if (!plan) return SetupFailed(input, plan.error());
  if (Status secrets = CheckSecrets(seen, *plan); !secrets) {
    return SetupFailed(input, secrets.error());
  }
  if (Status owned = CheckOwnership(seen, *plan, input.profile); !owned) {
    return SetupFailed(input, owned.error());
  }
  Decision decision;
  const bool was_set_up = IsSetUp(input);
  const Json& mounts = ItemsOf(ChildOf(seen.dataset, "spec"), "mounts");
  if (was_set_up && ItemsOf(ChildOf(seen.dataset, "status"), "mounts") != mounts) {
    decision.actions.push_back(UpdatingStatus(input));
  }
  AppendObjects(input, *plan, decision);
  ReportNotes(input, *plan, decision);
  ReportWorkers(input, *plan, decision);
  decision.actions.push_back(RuntimeStatus(input, *plan));
  decision.actions.push_back(BoundStatus(input, *plan));
  if (!was_set_up) {
    decision.events.push_back(
        {.about = seen.runtime,
         .warning = false,
         .reason = kSucceed,
         .message = fmt::format("{} is bound; pods can use claim {}",
                                Title(resources::kDataset, seen.key), seen.key.name)});
  }
  const auto steady = input.timing.steady;
  if (steady.count() > 0 && steady < decision.requeue_after.value_or(seconds::max())) {
    decision.requeue_after = steady;
  }
  return decision;
}

// A Dataset that is not going away.
Decision DecideLiving(const DecisionInput& input) {
  const Observation& seen = input.seen;
  Decision decision;
  decision.actions.push_back(ClaimDataset(input));
  Decision next;
  if (!seen.runtime.is_object()) {
    if (StringAt(seen.dataset, "/status/phase").empty()) {
      next.actions.push_back(NotBoundStatus(input));
    }
  } else if (const Json* rival = Rival(input)) {
    next = LoseToRival(input, *rival);
  } else {
    decision.actions.push_back(ClaimRuntime(input));
    next = SetUp(input);
    for (const Json& other : seen.other_runtimes) {
      next.events.push_back(
          Warning(other, kErrorProcessRuntime,
                  fmt::format("Dataset {} has the {} of the same name already; a Dataset has one "
                              "runtime, delete one of them",
                              seen.key.ToString(), input.profile.runtime.kind)));
    }
  }
  std::ranges::move(next.actions, std::back_inserter(decision.actions));
  decision.events = std::move(next.events);
  decision.requeue_after = next.requeue_after;
  return decision;
}

// The Dataset was bound by us, but its runtime is gone without our having cleaned up.
bool LostRuntime(const EngineProfile& profile, const Observation& seen) {
  return !seen.runtime.is_object() && BoundType(seen.dataset) == profile.type;
}

}  // namespace

namespace reconcile {

std::string BoundType(const Json& dataset) {
  const Json& runtimes = ItemsOf(ChildOf(dataset, "status"), "runtimes");
  return runtimes.empty() ? "" : StringOf(runtimes.front(), "type");
}

}  // namespace reconcile

const Json& Observation::Find(const ResourceType& type, const ObjectKey& object) const {
  static const Json kNone;
  const auto found = objects.find({type, object});
  return found == objects.end() ? kNone : found->second;
}

bool NeedsTearDown(const EngineProfile& profile, const Observation& seen) {
  return IsDeleting(seen.dataset) || IsDeleting(seen.runtime) || LostRuntime(profile, seen);
}

bool PodUsesDataset(const Json& pod, const RuntimeIdentity& identity) {
  const std::string phase = StringAt(pod, "/status/phase");
  if (phase == "Succeeded" || phase == "Failed" || IsDeleting(pod)) return false;
  if (StringAt(pod, "/metadata/namespace") != identity.ns) return false;
  const std::string directory = identity.mount_path.substr(0, identity.mount_path.rfind('/'));
  for (const Json& volume : ItemsOf(ChildOf(pod, "spec"), "volumes")) {
    if (StringAt(volume, "/persistentVolumeClaim/claimName") == identity.name) return true;
    const std::string path = StringAt(volume, "/hostPath/path");
    if (path == directory || path.starts_with(directory + "/")) return true;
  }
  return false;
}

Decision Decide(const DecisionInput& input) {
  const Observation& seen = input.seen;
  const bool has_dataset = seen.dataset.is_object();
  const bool has_runtime = seen.runtime.is_object();
  if (!has_dataset && !has_runtime) return {};
  if (NeedsTearDown(input.profile, seen)) {
    if (IsDeleting(seen.dataset) && (!seen.pods_in_use.empty() || !seen.live_references.empty())) {
      return RefuseDeletion(input);
    }
    return TearDown(input);
  }
  if (!IsDnsLabel(seen.key.name)) return RefuseName(input);
  return has_dataset ? DecideLiving(input) : WaitForDataset(input);
}

Decision DecideAfterFailure(const DecisionInput& input, const Error& error) {
  switch (error.code) {
    case Code::kInvalidArgument:
    case Code::kPermissionDenied:
    case Code::kAlreadyExists:
    case Code::kInternal:
      break;
    case Code::kNotFound:
    case Code::kConflict:
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      return {};
  }
  if (!input.seen.dataset.is_object() || !input.seen.runtime.is_object() ||
      NeedsTearDown(input.profile, input.seen)) {
    return {};
  }
  return SetupFailed(input, error);
}

}  // namespace sluice
