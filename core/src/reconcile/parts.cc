#include "reconcile/parts.h"

#include "sluice/core/json_access.h"
#include "sluice/core/timestamp.h"

namespace sluice::reconcile {

bool IsDeleting(const Json& object) {
  return !StringAt(object, "/metadata/deletionTimestamp").empty();
}

bool HasFinalizer(const Json& object, const std::string& finalizer) {
  for (const Json& present : ItemsOf(ChildOf(object, "metadata"), "finalizers")) {
    if (present == finalizer) return true;
  }
  return false;
}

std::string UidOf(const Json& object) { return StringAt(object, "/metadata/uid"); }

std::int32_t NumberAt(const Json& object, const char* pointer) {
  const Json& value = ValueAt(object, pointer);
  return value.is_number_integer() ? value.get<std::int32_t>() : 0;
}

std::string DatasetUid(const Observation& seen) {
  if (seen.dataset.is_object()) return UidOf(seen.dataset);
  for (const Json& owner : ItemsOf(ChildOf(seen.runtime, "metadata"), "ownerReferences")) {
    if (StringOf(owner, "kind") == resources::kDataset.kind) return StringOf(owner, "uid");
  }
  return "";
}

RuntimeIdentity Identity(const DecisionInput& input) {
  return IdentityOf(input.profile, input.seen.key, DatasetUid(input.seen), input.settings);
}

Json Skeleton(const ResourceType& type, const Json& object) {
  const ObjectKey key = KeyOf(object);
  return {{"apiVersion", type.ApiVersion()},
          {"kind", type.kind},
          {"metadata", {{"name", key.name}, {"namespace", key.ns}, {"uid", UidOf(object)}}}};
}

Action DropFinalizer(const ResourceType& type, const Json& object, const std::string& finalizer) {
  Json rest = Json::array();
  for (const Json& present : ItemsOf(ChildOf(object, "metadata"), "finalizers")) {
    if (present != finalizer) rest.push_back(present);
  }
  return {.kind = Action::Kind::kMergePatch,
          .type = type,
          .key = KeyOf(object),
          .body = {{"metadata",
                    {{"resourceVersion", StringAt(object, "/metadata/resourceVersion")},
                     {"finalizers", std::move(rest)}}}}};
}

const Json& FindCondition(const Json& conditions, const std::string& type) {
  static const Json kNone;
  if (!conditions.is_array()) return kNone;
  for (const Json& condition : conditions) {
    if (StringOf(condition, "type") == type) return condition;
  }
  return kNone;
}

void SetCondition(Json& conditions, const Condition& wanted, ConditionStyle style,
                  std::chrono::system_clock::time_point now) {
  const char* const checked =
      style == ConditionStyle::kDataset ? "lastUpdateTime" : "lastProbeTime";
  const std::string time = FormatTime(now);
  Json fresh = {{"type", wanted.type},     {"status", wanted.status},
                {"reason", wanted.reason}, {"message", wanted.message},
                {checked, time},           {"lastTransitionTime", time}};
  for (Json& condition : conditions) {
    if (StringOf(condition, "type") != wanted.type) continue;
    const bool same_status = StringOf(condition, "status") == wanted.status;
    if (same_status) fresh["lastTransitionTime"] = StringOf(condition, "lastTransitionTime");
    if (same_status && StringOf(condition, "reason") == wanted.reason &&
        StringOf(condition, "message") == wanted.message) {
      fresh[checked] = StringOf(condition, checked);
    }
    condition = std::move(fresh);
    return;
  }
  conditions.push_back(std::move(fresh));
}

bool IsSetUp(const DecisionInput& input) {
  const Json& status = ChildOf(input.seen.dataset, "status");
  const Json& runtimes = ItemsOf(status, "runtimes");
  return !runtimes.empty() && StringOf(runtimes.front(), "type") == input.profile.type &&
         FindCondition(ItemsOf(status, "conditions"), "Ready").is_object();
}

}  // namespace sluice::reconcile
