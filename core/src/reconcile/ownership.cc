#include <fmt/format.h>

#include "sluice/core/json_access.h"

#include "reconcile/parts.h"

namespace sluice::reconcile {
namespace {

bool MadeByFluid(const Json& object) {
  return StringOf(ChildOf(ChildOf(object, "metadata"), "annotations"), kCreatedByAnnotation) ==
         "fluid";
}

}  // namespace

bool ControlledByRuntime(const Json& object, const EngineProfile& profile,
                         const std::string& runtime) {
  for (const Json& owner : ItemsOf(ChildOf(object, "metadata"), "ownerReferences")) {
    if (FlagOf(owner, "controller")) {
      return StringOf(owner, "kind") == profile.runtime.kind && StringOf(owner, "name") == runtime;
    }
  }
  return false;
}

bool IsOurs(const PlannedObject& planned, const Json& existing, const EngineProfile& profile) {
  if (planned.type == resources::kPersistentVolume) {
    const Json& claim = ValueAt(existing, "/spec/claimRef");
    const Json& wanted = ValueAt(planned.object, "/spec/claimRef");
    // "a-b"/"c" and "a"/"b-c" share a volume name; the claim tells them apart.
    return MadeByFluid(existing) &&
           (claim.is_null() || (StringOf(claim, "namespace") == StringOf(wanted, "namespace") &&
                                StringOf(claim, "name") == StringOf(wanted, "name")));
  }
  if (planned.type == resources::kPersistentVolumeClaim) return MadeByFluid(existing);
  for (const Json& owner : ItemsOf(planned.object["metadata"], "ownerReferences")) {
    return ControlledByRuntime(existing, profile, StringOf(owner, "name"));
  }
  return false;
}

Status CheckOwnership(const Observation& seen, const RuntimePlan& plan,
                      const EngineProfile& profile) {
  for (const PlannedObject& planned : plan.objects) {
    const ObjectKey key = KeyOf(planned.object);
    const Json& existing = seen.Find(planned.type, key);
    if (existing.is_object() && !IsOurs(planned, existing, profile)) {
      return Fail(Code::kAlreadyExists,
                  fmt::format("{} {} exists already and is not this dataset's; delete it or give "
                              "the Dataset another name",
                              planned.type.kind, key.ToString()));
    }
  }
  return Ok();
}

}  // namespace sluice::reconcile
