// Which datasets a pod uses: its claims, resolved to dataset and runtime.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sluice/core/injection.h"

namespace sluice::injection {

// A dataset as the plugins need it.
struct DatasetUse {
  std::string ns;
  std::string name;
  std::string uid;
  std::string runtime_type;  // "alluxio", "sluice", …
  std::string fuse_daemon_set;
  // Of the runtime; for a reference dataset of the other one's, where its own says nothing.
  Json node_selector = Json::object();   // of the FUSE pods
  Json cache_affinity = Json::object();  // status.cacheAffinity
  bool scrape_sidecar = false;
  // The dataset whose workers hold the data: another one for a reference dataset, if the pod is to
  // be placed.
  std::string cache_ns;
  std::string cache_name;
  std::string cache_uid;

  [[nodiscard]] std::string FullName() const { return ns + "/" + name; }
};

// By claim name, so that everything derived from it has one order.
using DatasetUses = std::map<std::string, DatasetUse>;

struct CollectOptions {
  std::string ns;                     // of the pod
  bool skip_precheck = false;         // do not ask whether the dataset is bound
  bool tolerate_missing_pvc = false;  // a claim that does not exist yet is none of our business
  // Look for the cache of a reference dataset, in another namespace. A sidecar needs none of it.
  bool for_placement = false;
};

// Claims of spec.volumes in order, with repetitions.
std::vector<std::string> ClaimsOf(const Json& pod);

// Claims that do not exist are appended to `missing` when they are tolerated.
Result<DatasetUses> CollectDatasets(const Json& pod, const Lookup& lookup,
                                    const CollectOptions& options,
                                    std::vector<std::string>& missing);

}  // namespace sluice::injection
