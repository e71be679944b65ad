// Removes the directories that sidecars leave on the node.
//
// The webhook gives every pod with a sidecar a host directory of its own,
//   <mount root>/<type>/<namespace>/<dataset>/<pod>/<microseconds>-<8 hex digits>,
// in which the sidecar mounts. The kubelet creates it (hostPath, DirectoryOrCreate) and never
// removes it; the sidecar cannot remove a directory that is mounted into it, nor know whether its
// pod ends or only its container. So the plugin does, without knowing the pod: a directory in which
// nothing has been mounted for as long as `idle_time` belongs to none that works.
//
// A pod whose image takes longer than that to arrive loses nothing: the container runtime creates
// the directory again when it starts the container.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/platform/log.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/mounter.h"

namespace sluice::csi {

struct LeftoverOptions {
  std::string mount_root = "/runtime-mnt";
  // Far beyond any restart of a container: an application whose sidecar comes back must find its
  // mount where it was. Counted anew by every plugin.
  std::chrono::hours idle_time{24};
};

// Threads: one at a time. The mounter and the clock must outlive it.
class LeftoverDirectories {
 public:
  LeftoverDirectories(LeftoverOptions options, Mounter& mounter, const Clock& clock,
                      platform::Log log);

  // One pass: removes what has been idle in every pass for long enough. Only empty directories go;
  // mounts are neither entered nor touched.
  void Sweep();

 private:
  // Adds the pods' directories that lie `levels` below `path`.
  void Collect(const std::string& path, unsigned levels, std::vector<std::string>& found);
  // True when there are at most empty directories in it, and nothing is mounted there.
  bool IsIdle(const std::string& directory);
  Status Remove(const std::string& directory);

  LeftoverOptions options_;
  Mounter& mounter_;
  const Clock& clock_;
  platform::Log log_;
  std::map<std::string, std::chrono::steady_clock::time_point> idle_since_;
};

}  // namespace sluice::csi
