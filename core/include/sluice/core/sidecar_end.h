// When the FUSE sidecars of a pod are to be ended, and how. Ordinary containers go on when the
// application is done, so without this a Job with one never completes. Init containers that are
// sidecars (restartPolicy Always) need none of it: kubelet ends them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/resource.h"

namespace sluice {

struct SidecarCommand {
  std::string container;
  std::vector<std::string> command;  // to be executed in it
};

struct SidecarEnd {
  enum class Action {
    kLeave,  // nothing of ours to end in this pod, whatever becomes of it
    kWait,   // decide again when the pod has changed
    kEnd,    // the application is done
  };
  Action action = Action::kLeave;
  std::string reason;  // stable name of what decided
  // Of the sidecars that run, in the pod's order.
  std::vector<SidecarCommand> commands;
  std::vector<std::string> no_command;  // containers that tell no way to end them
};

// `opt_out_label`: pods that have it are left alone; empty: there is no such label. Never throws on
// any JSON.
SidecarEnd DecideSidecarEnd(const Json& pod, const std::string& opt_out_label);

// How this container says it is ended: its preStop hook, its own program when that is Sluice's
// client, else `umount` of its mount. Empty when nothing tells.
std::vector<std::string> EndCommandOf(const Json& container);

}  // namespace sluice
