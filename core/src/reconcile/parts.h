// The steps of Decide, one file each. Private to core.
#pragma once

#include <string>

#include "sluice/core/dataset_decision.h"

namespace sluice::reconcile {

bool IsDeleting(const Json& object);
bool HasFinalizer(const Json& object, const std::string& finalizer);
std::string UidOf(const Json& object);
// 0 where there is no whole number.
std::int32_t NumberAt(const Json& object, const char* pointer);
// Uid of the Dataset; of a Dataset that is gone, as the runtime's owner reference remembers it.
std::string DatasetUid(const Observation& seen);
RuntimeIdentity Identity(const DecisionInput& input);
// The type of runtime that the Dataset is bound to; empty when it is not.
std::string BoundType(const Json& dataset);

// {apiVersion, kind, metadata{name, namespace, uid}}: applying it to another object of the same
// name is a conflict, and it never creates one.
Json Skeleton(const ResourceType& type, const Json& object);

// Removes one finalizer under the object's resourceVersion.
Action DropFinalizer(const ResourceType& type, const Json& object, const std::string& finalizer);

// The condition list with this one set; times change only with what they tell.
struct Condition {
  std::string type;
  std::string status;
  std::string reason;
  std::string message;
};
enum class ConditionStyle { kDataset, kRuntime };
void SetCondition(Json& conditions, const Condition& wanted, ConditionStyle style,
                  std::chrono::system_clock::time_point now);
const Json& FindCondition(const Json& conditions, const std::string& type);

// True once setup was completed for this profile: a Ready condition exists.
bool IsSetUp(const DecisionInput& input);

Action BoundStatus(const DecisionInput& input, const RuntimePlan& plan);
Action UpdatingStatus(const DecisionInput& input);
Action NotBoundStatus(const DecisionInput& input);  // nothing to complain about
Action UnbindStatus(const DecisionInput& input);    // the runtime is gone
Action FailedStatus(const DecisionInput& input, const Error& error);
Action RuntimeStatus(const DecisionInput& input, const RuntimePlan& plan);

// What there is of the cache workers before this round.
PoolState ReadPool(const DecisionInput& input);

// Cache workers in numbers, for status and conditions.
struct Workers {
  bool deployed = false;     // the plan has a StatefulSet
  std::int32_t wanted = 0;   // by the runtime
  std::int32_t current = 0;  // pods
  std::int32_t ready = 0;
  std::int32_t available = 0;
  std::int32_t before = 0;  // replicas of the StatefulSet before this round and after it
  std::int32_t after = 0;

  [[nodiscard]] bool AllReady() const { return ready >= wanted; }
};
Workers WorkersOf(const DecisionInput& input, const RuntimePlan& plan);
// "1 of 2 cache workers are ready", or the like.
std::string DescribeWorkers(const Workers& workers);

// Workers that are to go have left the clients' list with the ConfigMap of this round. Keeps them
// running for DecisionTiming::scale_in after that; the time that is left, if any.
std::optional<std::chrono::seconds> HoldWorkers(const DecisionInput& input, PlannedObject& planned);

// The Secret of workers that wait for it, and what is worth an event about them.
void MakeCredentials(const DecisionInput& input, const RuntimePlan& plan, Decision& decision);
// In every round, since nothing else shows whether it is there.
void MakePoolKey(const RuntimePlan& plan, Decision& decision);
// In every round, since they end.
void RenewCertificates(const RuntimePlan& plan, Decision& decision);
void ReportWorkers(const DecisionInput& input, const RuntimePlan& plan, Decision& decision);

inline constexpr const char* kCacheReady = "CacheReady";  // condition of the Dataset

// kAlreadyExists when an object of the plan exists and belongs to somebody else.
Status CheckOwnership(const Observation& seen, const RuntimePlan& plan,
                      const EngineProfile& profile);
// Whether this runtime is the object's controller; false for null.
bool ControlledByRuntime(const Json& object, const EngineProfile& profile,
                         const std::string& runtime);
bool IsOurs(const PlannedObject& planned, const Json& existing, const EngineProfile& profile);

// Removes everything of the pair, in order, finalizers last.
Decision TearDown(const DecisionInput& input);

}  // namespace sluice::reconcile
