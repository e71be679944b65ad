// The cache workers of a runtime: who is in the clients' list, how many there are, and when those
// that are to go may go.
#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/timestamp.h"

#include "reconcile/parts.h"

namespace sluice::reconcile {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

// On a StatefulSet whose workers are about to go: "<replicas to be> <since>".
constexpr const char* kScaleInAnnotation = "sluice.io/scale-in";

std::int32_t ReplicasOf(const Json& stateful_set) {
  return NumberAt(stateful_set, "/spec/replicas");
}

std::string Address(const Json& slice, const std::string& host) {
  const Json& ports = ItemsOf(slice, "ports");
  const int port = ports.empty() ? 0 : NumberAt(ports.front(), "/port");
  const bool is_ipv6 = StringOf(slice, "addressType") == "IPv6";
  return fmt::format("{}{}{}:{}", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "",
                     port > 0 ? port : kWorkerPort);
}

// What is not said counts as ready, as the API defines it.
bool IsReady(const Json& endpoint) { return ValueAt(endpoint, "/conditions/ready") != false; }

void AddReady(const Json& slice, std::vector<PoolMember>& members) {
  for (const Json& endpoint : ItemsOf(slice, "endpoints")) {
    const std::string host = StringAt(endpoint, "/addresses/0");
    std::string pod = StringAt(endpoint, "/targetRef/name");
    // A pod may be in several slices for a moment, and in one for each family of addresses.
    const bool listed = std::ranges::find(members, pod, &PoolMember::name) != members.end();
    if (host.empty() || pod.empty() || listed || !IsReady(endpoint)) continue;
    members.push_back({.name = std::move(pod), .address = Address(slice, host)});
  }
}

const Json& StatefulSetOf(const DecisionInput& input) {
  const RuntimeIdentity identity = Identity(input);
  return input.seen.Find(resources::kStatefulSet, {identity.ns, identity.workers});
}

// Since when the workers from `replicas` on have been out of the list; nothing when they have not.
std::optional<system_clock::time_point> OutSince(const Json& stateful_set, std::int32_t replicas) {
  const std::string mark =
      StringOf(ChildOf(ChildOf(stateful_set, "metadata"), "annotations"), kScaleInAnnotation);
  const auto blank = mark.find(' ');
  if (blank == std::string::npos) return {};
  std::int32_t listed = 0;
  const auto [last, error] = std::from_chars(mark.data(), mark.data() + blank, listed);
  if (error != std::errc() || last != mark.data() + blank || listed > replicas) return {};
  return ParseTime(mark.substr(blank + 1));
}

}  // namespace

PoolState ReadPool(const DecisionInput& input) {
  PoolState pool;
  const Json& stateful_set = StatefulSetOf(input);
  pool.exists = ControlledByRuntime(stateful_set, input.profile, input.seen.key.name);
  for (const Json& slice : input.seen.worker_slices) AddReady(slice, pool.ready);
  // Slices come and list their endpoints in any order; the list must not change with it.
  std::ranges::sort(pool.ready, {}, &PoolMember::name);
  return pool;
}

Workers WorkersOf(const DecisionInput& input, const RuntimePlan& plan) {
  Workers workers{.wanted = plan.workers};
  const auto planned =
      std::ranges::find(plan.objects, resources::kStatefulSet, &PlannedObject::type);
  workers.deployed = planned != plan.objects.end();
  if (!workers.deployed) return workers;
  const Json& existing = StatefulSetOf(input);
  workers.current = NumberAt(existing, "/status/replicas");
  workers.ready = NumberAt(existing, "/status/readyReplicas");
  workers.available = NumberAt(existing, "/status/availableReplicas");
  workers.after = ReplicasOf(planned->object);
  workers.before = existing.is_object() ? ReplicasOf(existing) : workers.after;
  return workers;
}

std::string DescribeWorkers(const Workers& workers) {
  if (workers.wanted == 0) return "No cache workers are asked for";
  return fmt::format("{} of {} cache workers are ready", std::min(workers.ready, workers.wanted),
                     workers.wanted);
}

std::optional<seconds> HoldWorkers(const DecisionInput& input, PlannedObject& planned) {
  if (planned.type != resources::kStatefulSet) return {};
  const Json& existing = StatefulSetOf(input);
  const std::int32_t wanted = ReplicasOf(planned.object);
  const std::int32_t current = ReplicasOf(existing);
  if (wanted >= current) return {};
  // A clock that was set back must not keep them for long.
  const auto since = std::min(OutSince(existing, wanted).value_or(input.now), input.now);
  const auto left = input.timing.scale_in - (input.now - since);
  if (left <= seconds(0)) return {};
  planned.object["spec"]["replicas"] = current;
  planned.object["metadata"]["annotations"][kScaleInAnnotation] =
      fmt::format("{} {}", wanted, FormatTime(since));
  return std::chrono::ceil<seconds>(left);
}

void MakeCredentials(const DecisionInput& input, const RuntimePlan& plan, Decision& decision) {
  const Workers workers = WorkersOf(input, plan);
  // Workers that run have it. Not asked for in every round, since it may be made but not read.
  if (!plan.worker_secret.is_object() || workers.AllReady()) return;
  decision.actions.push_back({.kind = Action::Kind::kMakeCredentials,
                              .type = resources::kSecret,
                              .key = KeyOf(plan.worker_secret),
                              .body = plan.worker_secret});
}

void MakePoolKey(const RuntimePlan& plan, Decision& decision) {
  if (!plan.pool_key.is_object()) return;
  decision.actions.push_back({.kind = Action::Kind::kMakePoolKey,
                              .type = resources::kSecret,
                              .key = KeyOf(plan.pool_key),
                              .body = plan.pool_key});
}

void RenewCertificates(const RuntimePlan& plan, Decision& decision) {
  if (!plan.tls) return;
  decision.actions.push_back({.kind = Action::Kind::kRenewCertificates,
                              .type = resources::kSecret,
                              .key = KeyOf(plan.tls->authority),
                              .tls = plan.tls});
}

void ReportWorkers(const DecisionInput& input, const RuntimePlan& plan, Decision& decision) {
  const Workers workers = WorkersOf(input, plan);
  if (workers.before != workers.after) {
    decision.events.push_back({.about = input.seen.runtime,
                               .warning = false,
                               .reason = "Succeed",
                               .message = fmt::format("cache workers scaled {} from {} to {}",
                                                      workers.after < workers.before ? "in" : "out",
                                                      workers.before, workers.after)});
    return;
  }
  const Json& known =
      FindCondition(ItemsOf(ChildOf(input.seen.dataset, "status"), "conditions"), kCacheReady);
  if (StringOf(known, "status") != "True" || workers.AllReady()) return;
  decision.events.push_back({.about = input.seen.runtime,
                             .warning = true,
                             .reason = "ErrorProcessRuntime",
                             .message = fmt::format("{}; what the others held is read from the "
                                                    "origin",
                                                    DescribeWorkers(workers))});
}

}  // namespace sluice::reconcile
