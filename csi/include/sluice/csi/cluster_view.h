// What the node plane asks of the Kubernetes API: its own node's labels, and the volume and runtime
// that a mount belongs to.
#pragma once

#include <optional>
#include <string>

#include "sluice/core/result.h"
#include "sluice/csi/clean_policy.h"
#include "sluice/csi/volume_request.h"
#include "sluice/ports/cluster.h"

namespace sluice::csi {

struct RuntimeFacts {
  bool exists = true;
  CleanPolicy policy = CleanPolicy::kOnRuntimeDeleted;
  std::string wanted_generation;  // of the claim; empty: unknown
};

// Threads: any. Each call is one or two requests with the client's own deadline.
class ClusterView {
 public:
  ClusterView(Cluster& cluster, std::string node_name, VolumeRules rules);

  // The label key of a mount whose volume does not name one: derived from its runtime.
  Result<std::string> DeriveNodeLabel(const MountSource& source);

  // True when this call set it, false when it was there.
  Result<bool> SetNodeLabel(const std::string& key);
  Status RemoveNodeLabel(const std::string& key);  // Ok when absent
  Result<bool> HasNodeLabel(const std::string& key);

  // PersistentVolumes bear the name of their handle.
  Result<bool> VolumeExists(const std::string& volume_id);
  // The mount that a volume shows; empty when the volume is gone or none of ours.
  Result<std::optional<MountSource>> FindSource(const std::string& volume_id);
  // Clean policy of the runtime behind a mount.
  Result<RuntimeFacts> FindRuntime(const MountSource& source);

 private:
  Cluster& cluster_;
  std::string node_name_;
  VolumeRules rules_;
};

}  // namespace sluice::csi
