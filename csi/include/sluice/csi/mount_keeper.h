// Keeps the shared mounts of this node as they should be: attached while somebody wants them,
// replaced when their connection is lost, removed when nobody wants them any more.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/csi/cluster_view.h"
#include "sluice/csi/fuse_broker.h"
#include "sluice/csi/key_locks.h"
#include "sluice/csi/mount_registry.h"
#include "sluice/csi/node_state.h"
#include "sluice/csi/patient_caller.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/mounter.h"

namespace sluice::csi {

struct NodePaths {
  std::string kubelet_root = "/var/lib/kubelet";
  std::string mount_root = "/runtime-mnt";
  std::string broker_root = "/run/fuse.csi.fluid.io";
};

struct MountKeeperOptions {
  NodePaths paths;
  MountLimits limits;
  // The broker directory outlives its mount by this much: a FUSE pod that is being replaced still
  // has it mounted.
  std::chrono::milliseconds directory_grace{120'000};
  // For a file-system call on one of our own mounts whose client is ready.
  std::chrono::milliseconds bind_timeout{10'000};
};

// An event about the dataset of a mount.
struct MountNotice {
  MountSource source;
  bool warning = false;
  std::string reason;
  std::string message;
};

// Operations on one mount or one target exclude each other by these.
struct NodeLocks {
  KeyLocks mounts;   // by mount key
  KeyLocks targets;  // by target path
};

// Threads: any; the caller of Ensure and TearDown holds the lock of the mount.
class MountKeeper {
 public:
  struct Parts {
    Mounter& mounter;
    FuseBroker& broker;
    ClusterView& cluster;
    PatientCaller& patient;
    MountRegistry& registry;
    NodeLocks& locks;
    const Clock& clock;
    platform::Log log;
    platform::Metrics& metrics;
    std::function<void(const MountNotice&)> notify;
    std::stop_token stop;  // cuts a sweep short
  };
  MountKeeper(MountKeeperOptions options, Parts parts);

  // Reads the registry's files and the mount table and adopts the mounts that are there. Once,
  // before anything else.
  Status Recover();

  // Our own mount is there and its descriptor is offered. `attached` tells whether this call made
  // it.
  Status Ensure(const SharedMount& mount, bool* attached);
  // Unmounts, closes, forgets. kConflict, and nothing is done, when a pod has come to use the mount
  // since `mount` was read.
  Status TearDown(const SharedMount& mount);
  // Takes the node label that is pending, which ends the FUSE pod, and forgets the mount. It stays
  // pending when that fails, for the next call or a sweep. kConflict when the mount is wanted
  // again: the label is there then.
  Status Unlabel(const SharedMount& mount);

  // One pass over all mounts. With `ask_cluster`, unused ones are checked against the node's label
  // and their PersistentVolumes.
  void Sweep(bool ask_cluster);

 private:
  struct Observed {
    MountFacts facts;
    std::optional<MountPoint> mounted;
  };

  Status Attach(const SharedMount& mount);
  Status Adopt(const SharedMount& mount);
  Status Reattach(const SharedMount& mount);
  Status Rebind(const SharedMount& mount);
  Status RebindTarget(const SharedMount& mount, const std::string& path,
                      const PublishedTarget& target);
  Status Act(MountStep step, const SharedMount& mount);
  Result<Observed> Observe(const SharedMount& mount);
  void AskCluster(const SharedMount& mount, MountFacts& facts);
  void SweepOne(const std::string& key, bool ask_cluster);
  void DropVanishedTargets(const SharedMount& mount);
  void AddUnknownMounts(const std::vector<MountPoint>& table);
  void AddUnknownTargets(const std::vector<MountPoint>& table, const SharedMount& mount);
  void DiscardRetired();
  void SetGauges();

  [[nodiscard]] std::string BrokerDirectory(const std::string& key) const;
  [[nodiscard]] FuseAttachment AttachmentOf(const SharedMount& mount) const;

  using Times = std::map<std::string, std::chrono::steady_clock::time_point>;

  MountKeeperOptions options_;
  Parts parts_;
  platform::Guarded<Times> adopted_;  // by key: since when the broker waits for a descriptor
  platform::Guarded<Times> retired_;  // broker directories without a mount, by path
  platform::Gauge& mounts_gauge_;
  platform::Gauge& targets_gauge_;
};

// The topmost mount at `path`.
std::optional<MountPoint> TopMountAt(const std::vector<MountPoint>& table, const std::string& path);

}  // namespace sluice::csi
