// Brings one Dataset and its runtime a step closer to what they should be: looks, decides
// (core/dataset_decision.h), acts.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "sluice/core/dataset_decision.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"
#include "sluice/ports/object_source.h"

namespace sluice::controller {

// Kinds of other engines that may have a Dataset's name.
const std::vector<ResourceType>& OtherRuntimeTypes();

struct ReconcilerDependencies {
  Cluster& cluster;
  const ObjectSource& known;  // a snapshot; asked first for what changes rarely
  const Clock& clock;
  std::function<void(const PlannedEvent&)> emit;
  std::function<Result<std::string>()> make_secret;  // fresh at each call: 64 hexadecimal digits
  platform::Log log;
  platform::Metrics& metrics;
};

// Threads: any, but one key by one thread at a time.
class DatasetReconciler {
 public:
  DatasetReconciler(const EngineProfile& profile, PlanSettings settings, DecisionTiming timing,
                    ReconcilerDependencies dependencies);

  // One round for this key. When to come back (nothing: on the next change), or an error that a
  // repetition may cure.
  Result<std::optional<std::chrono::seconds>> Reconcile(const ObjectKey& key);

 private:
  Result<Observation> Observe(const ObjectKey& key);
  Status ObserveObjects(Observation& seen, bool live);
  Status ObserveSecrets(Observation& seen);
  Status ObserveWorkers(Observation& seen);
  Status ObserveUsers(Observation& seen, const RuntimeIdentity& identity);
  // Null JSON for an object that does not exist.
  Result<Json> GetLive(const ResourceType& type, const ObjectKey& key);
  Result<Json> GetKnown(const ResourceType& type, const ObjectKey& key);
  Status Act(const Decision& decision);
  Status Do(const Action& action);
  Status MakeSecret(const Action& action, const char* key, const char* prefix);
  Status RenewCertificates(const Action& action);
  void Emit(const Decision& decision);

  const EngineProfile& profile_;
  const PlanSettings settings_;
  const DecisionTiming timing_;
  ReconcilerDependencies with_;
};

}  // namespace sluice::controller
