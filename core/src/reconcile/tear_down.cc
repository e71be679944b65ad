#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/json_access.h"
#include "sluice/core/timestamp.h"

#include "reconcile/parts.h"

namespace sluice::reconcile {
namespace {

Action DeleteOf(const ResourceType& type, const Json& object) {
  return {.kind = Action::Kind::kDelete, .type = type, .key = KeyOf(object), .uid = UidOf(object)};
}

// Deletes claim or volume, or helps one that hangs although nobody uses it. False when it is gone.
bool RemoveProtected(const DecisionInput& input, const ResourceType& type, const Json& object,
                     Decision& decision) {
  if (!object.is_object()) return false;
  decision.requeue_after = input.timing.tear_down;
  if (!IsDeleting(object)) {
    decision.actions.push_back(DeleteOf(type, object));
    return true;
  }
  const auto since = ParseTime(StringAt(object, "/metadata/deletionTimestamp"));
  const bool overdue = since && input.now - *since > input.timing.protection;
  if (!overdue || !input.seen.pods_in_use.empty()) return true;
  for (const char* finalizer : {"kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"}) {
    if (HasFinalizer(object, finalizer)) {
      decision.actions.push_back(DropFinalizer(type, object, finalizer));
      return true;
    }
  }
  return true;
}

const Json& Ours(const DecisionInput& input, const ResourceType& type, const ObjectKey& key,
                 const Json& skeleton) {
  static const Json kNone;
  const Json& existing = input.seen.Find(type, key);
  const bool ours =
      existing.is_object() && IsOurs({.type = type, .object = skeleton}, existing, input.profile);
  return ours ? existing : kNone;
}

// True while claim or volume are still there.
bool RemoveVolumes(const DecisionInput& input, const RuntimeIdentity& identity,
                   Decision& decision) {
  const Json claim_ref = {
      {"spec", {{"claimRef", {{"namespace", identity.ns}, {"name", identity.name}}}}}};
  const Json& claim =
      Ours(input, resources::kPersistentVolumeClaim, {identity.ns, identity.name}, claim_ref);
  if (RemoveProtected(input, resources::kPersistentVolumeClaim, claim, decision)) return true;
  const Json& volume =
      Ours(input, resources::kPersistentVolume, {"", identity.persistent_volume}, claim_ref);
  return RemoveProtected(input, resources::kPersistentVolume, volume, decision);
}

// True while workloads and ConfigMaps are still there.
bool RemoveWorkloads(const DecisionInput& input, const RuntimeIdentity& identity,
                     Decision& decision) {
  const Json owned = {
      {"metadata", {{"ownerReferences", Json::array({{{"name", identity.name}}})}}}};
  bool left = false;
  for (const auto& [type, name] : {std::pair<const ResourceType&, const std::string&>{
                                       resources::kDaemonSet, identity.daemon_set},
                                   {resources::kPodTemplate, identity.pod_template},
                                   {resources::kStatefulSet, identity.workers},
                                   {resources::kService, identity.workers},
                                   {resources::kConfigMap, identity.config_map}}) {
    const Json& object = Ours(input, type, {identity.ns, name}, owned);
    if (!object.is_object()) continue;
    left = true;
    if (!IsDeleting(object)) decision.actions.push_back(DeleteOf(type, object));
  }
  if (left) decision.requeue_after = input.timing.tear_down;
  return left;
}

void ReleaseNodes(const DecisionInput& input, const RuntimeIdentity& identity, Decision& decision) {
  for (const std::string& node : input.seen.labelled_nodes) {
    decision.actions.push_back(
        {.kind = Action::Kind::kMergePatch,
         .type = resources::kNode,
         .key = {"", node},
         .body = {{"metadata", {{"labels", {{identity.fuse_label, nullptr}}}}}}});
  }
}

}  // namespace

Decision TearDown(const DecisionInput& input) {
  Decision decision;
  const Observation& seen = input.seen;
  const RuntimeIdentity identity = Identity(input);
  const bool dataset_goes = IsDeleting(seen.dataset);
  if (seen.runtime.is_object() && dataset_goes && !IsDeleting(seen.runtime)) {
    decision.actions.push_back(DeleteOf(input.profile.runtime, seen.runtime));
  }
  // A Dataset that another engine has bound keeps its claim, volume, node labels and status.
  const std::string bound = BoundType(seen.dataset);
  const bool another_has_it = !dataset_goes && !bound.empty() && bound != input.profile.type;
  if (!another_has_it && RemoveVolumes(input, identity, decision)) return decision;
  if (RemoveWorkloads(input, identity, decision)) return decision;
  if (!another_has_it) {
    ReleaseNodes(input, identity, decision);
    if (seen.dataset.is_object() && !dataset_goes) decision.actions.push_back(UnbindStatus(input));
  }
  if (HasFinalizer(seen.runtime, input.profile.finalizer)) {
    decision.requeue_after = input.timing.tear_down;
    // Deleted only just now: its finalizer is dropped in the next round, under the new version.
    if (!IsDeleting(seen.runtime)) return decision;
    decision.actions.push_back(
        DropFinalizer(input.profile.runtime, seen.runtime, input.profile.finalizer));
    // The runtime goes before the Dataset that owns it.
    return decision;
  }
  if (dataset_goes && HasFinalizer(seen.dataset, kDatasetFinalizer)) {
    decision.actions.push_back(DropFinalizer(resources::kDataset, seen.dataset, kDatasetFinalizer));
    decision.requeue_after.reset();
  }
  return decision;
}

}  // namespace sluice::reconcile
