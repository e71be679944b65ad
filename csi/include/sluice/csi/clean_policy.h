// When the FUSE pod of a dataset leaves a node that nobody uses it on any more. Pure.
#pragma once

#include <string>
#include <string_view>

#include "sluice/core/result.h"

namespace sluice::csi {

enum class CleanPolicy { kOnRuntimeDeleted, kOnDemand, kOnFuseChanged };

// Empty is kOnRuntimeDeleted; an unknown text is kInvalidArgument.
Result<CleanPolicy> ParseCleanPolicy(std::string_view text);

struct UnstageFacts {
  CleanPolicy policy = CleanPolicy::kOnRuntimeDeleted;
  bool runtime_exists = true;
  bool used_by_volume = false;  // a pod still has this very volume
  bool used_by_others = false;  // another volume shows the same mount
  // Of the FUSE pod: what runs here, and what the claim was made for. Empty: unknown.
  std::string running_generation;
  std::string wanted_generation;
};

enum class UnstageAction {
  kKeep,              // the FUSE pod stays for the next user
  kRefuse,            // still in use; the kubelet asks again
  kDetach,            // take the mount away; the label is the controller's to remove
  kDetachAndUnlabel,  // take the mount and the node label away
};

UnstageAction DecideUnstage(const UnstageFacts& facts);

}  // namespace sluice::csi
