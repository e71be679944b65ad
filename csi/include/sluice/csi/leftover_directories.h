// Removes the directories that sidecars leave on the node.
//
// The webhook gives every pod with a sidecar a host directory of its own,
//   <mount root>/<type>/<namespace>/<dataset>/<pod>/<microseconds>-<8 hex digits>,
// in which the sidecar mounts. The kubelet creates it (hostPath, DirectoryOrCreate) and never
// removes it; the sidecar cannot remove a directory that is mounted into it, nor know whether its
// pod ends or only its container. So the plugin does: a directory goes when nothing has been
// mounted in it for as long as `idle_time`, and no pod of this node can be its owner.
//
// A pod none of whose containers has started in that time loses nothing: the container runtime
// creates the directory again when it starts them.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/csi/state_files.h"
#include "sluice/platform/log.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/mounter.h"

namespace sluice::csi {

struct LeftoverOptions {
  std::string mount_root = "/runtime-mnt";
  // Remembers since when each directory has been idle, for the next plugin.
  std::string state_directory;
  // Far beyond any restart of a container: an application whose sidecar comes back must find its
  // mount where it was.
  std::chrono::hours idle_time{24};
};

// Threads: one at a time. The mounter and the clock must outlive it.
class LeftoverDirectories {
 public:
  struct Parts {
    Mounter& mounter;
    const Clock& clock;
    platform::Log log;
    // Whether a pod on this node may have this name: then its directories stay.
    std::function<bool(std::string_view pod)> pod_may_live;
  };
  LeftoverDirectories(LeftoverOptions options, Parts parts);

  // Reads what an earlier plugin has seen.
  Status Load();
  // One pass: removes what has been idle in every pass for long enough. Only empty directories go;
  // mounts are neither entered nor touched.
  void Sweep();

 private:
  // Adds the pods' directories that lie `levels` below `path`.
  void Collect(const std::string& path, unsigned levels, std::vector<std::string>& found);
  // True when there are at most empty directories in it, and nothing is mounted there.
  bool IsIdle(const std::string& directory);
  [[nodiscard]] bool OwnerMayLive(const std::string& directory) const;
  Status Remove(const std::string& directory);
  void Save();

  using Times = std::map<std::string, std::chrono::steady_clock::time_point>;
  LeftoverOptions options_;
  Parts parts_;
  StateFiles files_;
  Times idle_since_;
};

}  // namespace sluice::csi
