// ConfigMaps that injected pods mount, written into their namespaces.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "sluice/platform/guarded.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"

namespace sluice::webhook {

class ConfigMapWriter {
 public:
  virtual ~ConfigMapWriter() = default;
  // Afterwards a ConfigMap of this name has this content. `namespace_uid` tells its namespace from
  // an earlier one of the same name; empty when it is not known. Threads: any.
  virtual Status Ensure(const Json& config_map, const std::string& namespace_uid) = 0;
};

// Compares by the annotation that holds the content's hash. What was found right lately in the same
// namespace is not asked for again, so that a burst of pods costs one read.
class ClusterConfigMaps final : public ConfigMapWriter {
 public:
  // Both must outlive the object.
  ClusterConfigMaps(Cluster& cluster, const Clock& clock) : cluster_(cluster), clock_(clock) {}
  Status Ensure(const Json& config_map, const std::string& namespace_uid) override;

 private:
  struct Seen {
    std::string namespace_uid;
    std::string hash;
    std::chrono::steady_clock::time_point at;
  };
  bool WasSeen(const ObjectKey& key, const std::string& namespace_uid, const std::string& hash);
  // kConflict or kAlreadyExists: somebody else wrote meanwhile.
  Status Write(const ObjectKey& key, const Json& config_map);

  Cluster& cluster_;
  const Clock& clock_;
  platform::Guarded<std::map<ObjectKey, Seen>> seen_;
};

}  // namespace sluice::webhook
