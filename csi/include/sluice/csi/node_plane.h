// What the CSI node calls do. Stage makes the dataset's mount and labels the node, which starts the
// FUSE pod; Publish waits for its client and shows the mount in a pod; Unpublish and Unstage undo.
// Mounts of other engines are made by their own FUSE pods: those are only waited for.
//
// Every call is idempotent, may be made from any thread, ends by its deadline, and answers
// kConflict when another one is at work on the same mount or target. Once `Parts::stop` is
// requested, calls that would wait answer kUnavailable.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "sluice/core/result.h"
#include "sluice/csi/cluster_view.h"
#include "sluice/csi/fuse_broker.h"
#include "sluice/csi/mount_keeper.h"
#include "sluice/csi/mount_registry.h"
#include "sluice/csi/patient_caller.h"
#include "sluice/csi/target_path.h"
#include "sluice/csi/volume_request.h"
#include "sluice/platform/log.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/mounter.h"

namespace sluice::csi {

using Deadline = std::chrono::steady_clock::time_point;

struct NodePlaneOptions {
  std::string node_name;
  NodePaths paths;
  // A client that keeps reporting a fault is not waited for until the deadline of the call, so that
  // the pod's event names the cause early: faults that waiting cannot mend, and all others.
  std::chrono::milliseconds lasting_fault_patience{5'000};
  std::chrono::milliseconds passing_fault_patience{30'000};
  std::chrono::milliseconds poll_period{250};
  std::chrono::milliseconds probe_timeout{2'000};
};

class NodePlane {
 public:
  struct Parts {
    Mounter& mounter;
    FuseBroker& broker;
    ClusterView& cluster;
    PatientCaller& patient;
    MountRegistry& registry;
    MountKeeper& keeper;
    NodeLocks& locks;
    const Clock& clock;
    platform::Log log;
    // The generation of the FUSE pod that runs here for a mount; empty: unknown.
    std::function<std::string(const MountSource&)> running_generation;
    std::stop_token stop;
  };
  NodePlane(NodePlaneOptions options, Parts parts);

  Status Stage(const VolumeRequest& request, Deadline deadline);
  Status Unstage(const std::string& volume_id, Deadline deadline);
  Status Publish(const VolumeRequest& request, const TargetPath& target, Deadline deadline);
  Status Unpublish(const std::string& volume_id, const TargetPath& target, Deadline deadline);

 private:
  // What a failed Stage gives back.
  struct Taken {
    bool attached = false;
    bool labelled = false;
  };

  Status StageMount(const SharedMount& mount, Deadline deadline, Taken& taken);
  void GiveBack(const SharedMount& mount, const Taken& taken);
  Status DetachIfDead(const MountSource& source, Deadline deadline);

  // How the target shows the volume.
  Result<PublishMethod> PublishReserved(const VolumeRequest& request, const SharedMount& mount,
                                        const TargetPath& target, Deadline deadline);
  // True when the target is a link that shows the volume already.
  Result<bool> CheckTarget(const VolumeRequest& request, const TargetPath& target);
  Status Show(const VolumeRequest& request, const TargetPath& target, Deadline deadline);
  Status PrepareSluice(const SharedMount& mount, Deadline deadline);
  Status AwaitClient(const SharedMount& mount, Deadline deadline);
  Status AwaitForeignMount(const VolumeRequest& request, Deadline deadline);
  // Empty when the mount can be used, else why not yet.
  Result<std::string> ForeignMountFault(const VolumeRequest& request, Deadline deadline);
  Status HideTarget(const TargetPath& target);

  Status UnstageMount(const SharedMount& mount, const std::string& volume_id);
  // kConflict when a pod has begun to use it.
  Status TakeAwayWithLabel(const SharedMount& mount);
  Status TakeAway(const SharedMount& mount);
  Result<UnstageFacts> GatherUnstageFacts(const SharedMount& mount, const std::string& volume_id);
  Result<SharedMount> RecordFor(const VolumeRequest& request);

  NodePlaneOptions options_;
  Parts parts_;
};

}  // namespace sluice::csi
