// Local copies of cluster objects, kept current by list and watch, one thread per resource type.
//
//   kube::InformerSet informers(cluster, {{.type = resources::kDataset}, {.type = kPod, …}}, {},
//                               log, metrics);
//   informers.OnChange([&](const kube::Change& change) { queue.Add(change.key); });
//   informers.Start();
//   if (!informers.WaitSynced(deadline)) …
//   auto dataset = informers.Find(resources::kDataset, {"default", "demo"});
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/cluster.h"
#include "sluice/ports/object_source.h"

namespace sluice::kube {

// Removes what no reader needs: managedFields and kubectl's last-applied annotation.
void DropBookkeeping(Json& object);

struct InformedResource {
  ResourceType type;
  ListOptions filter = {};
  // Applied to every object before it is kept; shrinks it. Default: DropBookkeeping.
  std::function<void(Json&)> transform = {};
  // True: an API server without this resource (its CRD is not installed) counts as synced and
  // empty, and is asked again every minute.
  bool optional = false;
};

// One difference between what was known and what is known now. `after` is null for a deletion,
// `before` for an addition.
struct Change {
  const ResourceType& type;
  ObjectKey key;
  std::shared_ptr<const Json> before;
  std::shared_ptr<const Json> after;
};

struct InformerOptions {
  std::chrono::milliseconds backoff_base{500};  // doubled per failure, with jitter, up to the max
  std::chrono::milliseconds backoff_max{30'000};
  std::chrono::seconds missing_resource_retry{60};
};

// Threads: all const methods from any thread; OnChange and Start once, from one thread, in this
// order. Objects are immutable; a change replaces the pointer.
class InformerSet final : public ObjectSource {
 public:
  // Cluster and metrics must outlive the set.
  InformerSet(Cluster& cluster, std::vector<InformedResource> resources, InformerOptions options,
              platform::Log log, platform::Metrics& metrics);
  ~InformerSet() override;  // stops and joins; open watches are cut
  InformerSet(const InformerSet&) = delete;
  InformerSet& operator=(const InformerSet&) = delete;

  // Called from informer threads, in order per resource; must be quick. After a relist it is called
  // for what really differs only.
  void OnChange(std::function<void(const Change&)> handler);
  void Start();

  // True once every resource has been listed.
  [[nodiscard]] bool HasSynced() const;
  [[nodiscard]] bool HasSynced(const ResourceType& type) const;
  // Empty when synced, else what is missing and why ("datasets.data.fluid.io: permission denied…").
  [[nodiscard]] std::string NotSyncedReason() const;
  // Waits for HasSynced; false at the deadline.
  bool WaitSynced(std::chrono::steady_clock::time_point deadline) const;

  // kNotFound also for types that are not in the set.
  Result<std::shared_ptr<const Json>> Find(const ResourceType& type,
                                           const ObjectKey& key) const override;
  // All objects of a type in key order; `ns` empty: of all namespaces.
  [[nodiscard]] std::vector<std::shared_ptr<const Json>> List(const ResourceType& type,
                                                              const std::string& ns = "") const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::kube
