// The next step for one Dataset and its runtime: pure, from what is there to what to do. Asked
// again after every change it converges: Bound with everything in place, or gone with nothing left.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sluice/core/engine_profile.h"
#include "sluice/core/resource.h"
#include "sluice/core/result.h"
#include "sluice/core/runtime_plan.h"

namespace sluice {

inline constexpr const char* kDatasetFinalizer = "fluid-dataset-controller-finalizer";

// A Secret as far as we may know it: its keys, never its values.
struct SecretState {
  bool readable = true;  // false: we are not allowed to look, so nothing is concluded
  bool exists = false;
  std::set<std::string> keys = {};
};

struct Observation {
  ObjectKey key;                          // of Dataset and runtime
  Json dataset = {};                      // null: there is none
  Json runtime = {};                      // of the profile's kind; null: there is none
  std::vector<Json> other_runtimes = {};  // of other kinds with the same name
  // The objects of the plan that exist, whoever made them.
  std::map<std::pair<ResourceType, ObjectKey>, Json> objects = {};
  std::map<std::string, SecretState> secrets = {};  // those that the Dataset refers to
  std::vector<Json> worker_slices = {};             // EndpointSlices of the cache workers
  // Looked up only when something is being deleted.
  std::vector<std::string> pods_in_use = {};      // "<ns>/<pod>" that read the dataset
  std::vector<std::string> live_references = {};  // Datasets that refer to this one
  std::vector<std::string> labelled_nodes = {};   // with the dataset's FUSE label

  [[nodiscard]] const Json& Find(const ResourceType& type, const ObjectKey& object) const;
};

struct Action {
  enum class Kind {
    kApply,
    kApplyStatus,
    kMergePatch,
    kDelete,
    // Creates the Secret `body` with a fresh password under kWorkerSecretKey; one that exists
    // stays.
    kMakeCredentials,
    kMakePoolKey,        // likewise, a fresh key of 256 bits under kPoolKeyKey
    kRenewCertificates,  // makes and renews what is in the Secrets of `tls`
  };
  Kind kind = Kind::kApply;
  ResourceType type;
  ObjectKey key;
  Json body = {};
  std::string uid = {};          // precondition of kDelete
  std::string subresource = {};  // of kMergePatch
  std::optional<TlsPlan> tls = {};
};

struct PlannedEvent {
  Json about;
  bool warning = false;
  std::string reason;
  std::string message;
};

// Actions are done in order; the first that fails ends the round (see DecideAfterFailure).
struct Decision {
  std::vector<Action> actions;
  std::vector<PlannedEvent> events;
  std::optional<std::chrono::seconds> requeue_after;
};

struct DecisionTiming {
  std::chrono::seconds steady{90};       // between looks at a healthy pair; 0: never
  std::chrono::seconds setup_retry{20};  // after bad input
  std::chrono::seconds missing{5};       // while a referenced Secret does not exist
  std::chrono::seconds no_dataset{5};    // a runtime that waits for its Dataset
  std::chrono::seconds in_use{10};       // deletion refused by a pod
  std::chrono::seconds tear_down{2};     // between two looks at what is going away
  std::chrono::seconds scale_in{10};     // from a worker's leaving the clients' list to its end
  std::chrono::seconds protection{30};   // then a claim's protection without users is dropped
};

struct DecisionInput {
  const EngineProfile& profile;
  const Observation& seen;
  const PlanSettings& settings;
  const DecisionTiming& timing;
  std::chrono::system_clock::time_point now;
};

Decision Decide(const DecisionInput& input);

// What to write when an action failed in a way that waiting does not cure (the API server refuses
// an object): the error becomes a condition and events. Transient errors give an empty decision.
Decision DecideAfterFailure(const DecisionInput& input, const Error& error);

// Whether a pod that has not ended reads the dataset: through its claim, or as a sidecar's
// application through the host path of its mount.
bool PodUsesDataset(const Json& pod, const RuntimeIdentity& identity);

// Whether anything of this pair is being deleted or has lost its other half, so that pods and nodes
// must be looked at.
bool NeedsTearDown(const EngineProfile& profile, const Observation& seen);

}  // namespace sluice
