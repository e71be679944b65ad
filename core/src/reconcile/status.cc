#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/json_access.h"
#include "sluice/core/timestamp.h"

#include "reconcile/parts.h"

namespace sluice::reconcile {
namespace {

constexpr const char* kReady = "Ready";
constexpr const char* kNotReady = "NotReady";
constexpr const char* kUpdating = "Updating";
constexpr const char* kUpdateReady = "UpdateReady";
constexpr const char* kReasonReady = "DatasetReady";
constexpr const char* kReasonUpdating = "DatasetUpdating";
constexpr const char* kReasonSetup = "DatasetFailedToSetup";

const Json& StatusOf(const Json& object) { return ChildOf(object, "status"); }

Action DatasetStatus(const DecisionInput& input, Json status) {
  Json body = Skeleton(resources::kDataset, input.seen.dataset);
  body["status"] = std::move(status);
  return {.kind = Action::Kind::kApplyStatus,
          .type = resources::kDataset,
          .key = input.seen.key,
          .body = std::move(body)};
}

// Only what we write ourselves: applying more would make us its owner.
Json CarriedOver(const Json& status) {
  Json kept = Json::object();
  for (const char* field :
       {"phase", "conditions", "mounts", "runtimes", "cacheStates", "ufsTotal", "fileNum"}) {
    if (status.contains(field)) kept[field] = status[field];
  }
  if (!kept.contains("conditions")) kept["conditions"] = Json::array();
  return kept;
}

// This version measures nothing across nodes; the same text as Fluid's thin runtime.
Json CacheStates() {
  return {{"cached", "N/A"},
          {"cacheCapacity", "N/A"},
          {"cachedPercentage", "N/A"},
          {"cacheHitRatio", "N/A"},
          {"cacheThroughputRatio", "N/A"}};
}

void SetWorkerConditions(const DecisionInput& input, const Workers& workers, Json& conditions) {
  const auto style = ConditionStyle::kRuntime;
  const bool ready = workers.AllReady();
  SetCondition(conditions,
               {.type = "WorkersInitialized",
                .status = "True",
                .reason = "Workers are initialized",
                .message = "The workers are initialized."},
               style, input.now);
  SetCondition(conditions,
               {.type = "WorkersReady",
                .status = ready ? "True" : "False",
                .reason = ready ? "Workers are ready" : "Workers are not ready",
                .message = DescribeWorkers(workers) + "."},
               style, input.now);
  if (workers.before == workers.after) return;
  const bool in = workers.after < workers.before;
  SetCondition(conditions,
               {.type = in ? "WorkersScaledIn" : "WorkersScaledOut",
                .status = "True",
                .reason = in ? "Workers scaled in" : "Workers scaled out",
                .message = fmt::format("The workers scaled {} from {} to {}.", in ? "in" : "out",
                                       workers.before, workers.after)},
               style, input.now);
}

const char* PhaseOf(const Workers& workers) {
  if (workers.AllReady()) return "Ready";
  return workers.ready > 0 ? "PartialReady" : "NotReady";
}

Json RuntimeConditions(const DecisionInput& input, const RuntimePlan& plan) {
  const auto style = ConditionStyle::kRuntime;
  Json conditions = ItemsOf(StatusOf(input.seen.runtime), "conditions");
  SetCondition(conditions,
               {.type = "FusesInitialized",
                .status = "True",
                .reason = "Fuses are initialized",
                .message = "The fuse is initialized."},
               style, input.now);
  SetCondition(conditions,
               {.type = "FusesReady",
                .status = "True",
                .reason = "Fuses are ready",
                .message = "The fuses are ready."},
               style, input.now);
  if (const Workers workers = WorkersOf(input, plan); workers.deployed) {
    SetWorkerConditions(input, workers, conditions);
  }
  // What the spec asks for in vain must be visible where its author looks.
  const bool had = FindCondition(conditions, "SpecHonored").is_object();
  if (had || !plan.notes.empty()) {
    SetCondition(
        conditions,
        {.type = "SpecHonored",
         .status = plan.notes.empty() ? "True" : "False",
         .reason = plan.notes.empty() ? "All fields take effect" : "Some fields have no effect",
         .message = fmt::format("{}", fmt::join(plan.notes, "; "))},
        style, input.now);
  }
  return conditions;
}

}  // namespace

Action NotBoundStatus(const DecisionInput& input) {
  Json status = CarriedOver(StatusOf(input.seen.dataset));
  status["phase"] = "NotBound";
  status["conditions"] = Json::array();
  return DatasetStatus(input, std::move(status));
}

// A patch, since applying an emptied map makes the API server write null where its schema wants a
// map.
Action UnbindStatus(const DecisionInput& input) {
  return {.kind = Action::Kind::kMergePatch,
          .type = resources::kDataset,
          .key = input.seen.key,
          .body = {{"status",
                    {{"phase", "NotBound"},
                     {"conditions", Json::array()},
                     {"runtimes", Json::array()},
                     {"mounts", nullptr},
                     {"cacheStates", nullptr},
                     {"hcfs", nullptr},
                     {"ufsTotal", ""},
                     {"fileNum", ""}}}},
          .subresource = "status"};
}

Action UpdatingStatus(const DecisionInput& input) {
  Json status = CarriedOver(StatusOf(input.seen.dataset));
  status["phase"] = "Updating";
  SetCondition(status["conditions"],
               {.type = kUpdating,
                .status = "True",
                .reason = kReasonUpdating,
                .message = "The mounts were edited."},
               ConditionStyle::kDataset, input.now);
  return DatasetStatus(input, std::move(status));
}

Action BoundStatus(const DecisionInput& input, const RuntimePlan& plan) {
  const Workers workers = WorkersOf(input, plan);
  Json conditions = Json::array();
  for (const Json& condition : ItemsOf(StatusOf(input.seen.dataset), "conditions")) {
    const std::string type = StringOf(condition, "type");
    if (type == kReady || (type == kCacheReady && workers.wanted > 0)) {
      conditions.push_back(condition);
    }
  }
  SetCondition(conditions,
               {.type = kReady,
                .status = "True",
                .reason = kReasonReady,
                .message = "The ddc runtime is ready."},
               ConditionStyle::kDataset, input.now);
  if (workers.wanted > 0) {
    // The dataset is readable without them, so this is no reason not to be Bound.
    const bool ready = workers.AllReady();
    SetCondition(
        conditions,
        {.type = kCacheReady,
         .status = ready ? "True" : "False",
         .reason = ready ? "WorkersReady" : "WorkersNotReady",
         .message = DescribeWorkers(workers) +
                    (ready ? "." : "; what the others would hold is read from the origin.")},
        ConditionStyle::kDataset, input.now);
  }
  Json runtime = {{"name", plan.identity.name},
                  {"namespace", plan.identity.ns},
                  {"category", "Accelerate"},
                  {"type", input.profile.type}};
  return DatasetStatus(input, {{"phase", "Bound"},
                               {"conditions", std::move(conditions)},
                               {"mounts", ItemsOf(ChildOf(input.seen.dataset, "spec"), "mounts")},
                               {"runtimes", Json::array({std::move(runtime)})},
                               {"cacheStates", CacheStates()},
                               {"ufsTotal", ""},
                               {"fileNum", ""}});
}

Action FailedStatus(const DecisionInput& input, const Error& error) {
  Json status = CarriedOver(StatusOf(input.seen.dataset));
  Json& conditions = status["conditions"];
  Condition condition{
      .type = kNotReady, .status = "True", .reason = kReasonSetup, .message = error.message};
  if (!IsSetUp(input)) {
    status["phase"] = "NotBound";
  } else if (error.code == Code::kInvalidArgument || error.code == Code::kNotFound) {
    // An edit that cannot be taken over: what was set up before goes on serving.
    status["phase"] = "Bound";
    condition = {.type = kUpdateReady,
                 .status = "False",
                 .reason = kReasonUpdating,
                 .message = error.message};
  } else {
    status["phase"] = "Failed";
    condition = {
        .type = kReady, .status = "False", .reason = kReasonReady, .message = error.message};
  }
  SetCondition(conditions, condition, ConditionStyle::kDataset, input.now);
  return DatasetStatus(input, std::move(status));
}

Action RuntimeStatus(const DecisionInput& input, const RuntimePlan& plan) {
  const Json& runtime = input.seen.runtime;
  const RuntimeIdentity& identity = plan.identity;
  const Json& fuses = input.seen.Find(resources::kDaemonSet, {identity.ns, identity.daemon_set});
  const Workers workers = WorkersOf(input, plan);
  std::string duration = StringAt(runtime, "/status/setupDuration");
  if (duration.empty()) {
    const auto created = ParseTime(StringAt(runtime, "/metadata/creationTimestamp"));
    const auto took = created ? input.now - *created : std::chrono::seconds(0);
    duration = FormatDuration(
        std::max(std::chrono::seconds(0), std::chrono::duration_cast<std::chrono::seconds>(took)));
  }
  Json body = Skeleton(input.profile.runtime, runtime);
  body["status"] = {
      {"valueFile", identity.config_map},
      {"masterPhase", ""},
      {"workerPhase", PhaseOf(workers)},
      {"workerReason", DescribeWorkers(workers)},
      {"fusePhase", "Ready"},
      {"fuseReason", "Fuses are ready"},
      {"desiredMasterNumberScheduled", 0},
      {"currentMasterNumberScheduled", 0},
      {"masterNumberReady", 0},
      {"desiredWorkerNumberScheduled", workers.wanted},
      {"currentWorkerNumberScheduled", workers.current},
      {"workerNumberReady", workers.ready},
      {"workerNumberAvailable", workers.available},
      {"workerNumberUnavailable", std::max(0, workers.wanted - workers.available)},
      {"desiredFuseNumberScheduled", NumberAt(fuses, "/status/desiredNumberScheduled")},
      {"currentFuseNumberScheduled", NumberAt(fuses, "/status/currentNumberScheduled")},
      {"fuseNumberReady", NumberAt(fuses, "/status/numberReady")},
      {"fuseNumberAvailable", NumberAt(fuses, "/status/numberAvailable")},
      {"fuseNumberUnavailable", NumberAt(fuses, "/status/numberUnavailable")},
      {"selector",
       fmt::format("app={0},release={1},role={0}-worker", input.profile.app, identity.name)},
      {"setupDuration", duration},
      {"cacheStates", CacheStates()},
      {"conditions", RuntimeConditions(input, plan)}};
  return {.kind = Action::Kind::kApplyStatus,
          .type = input.profile.runtime,
          .key = input.seen.key,
          .body = std::move(body)};
}

}  // namespace sluice::reconcile
