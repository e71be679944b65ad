// The plugin FuseSidecar: puts the FUSE clients of the pod's datasets into the pod.
#pragma once

#include "dataset_use.h"
#include "unique.h"

namespace sluice::injection {

// Which kind of node the sidecar must cope with.
enum class Platform { kDefault, kUnprivileged };

struct SidecarRequest {
  const Lookup& lookup;
  CollectOptions collect;
  SidecarPlacement placement = SidecarPlacement::kLegacy;
  Platform platform = Platform::kDefault;
  UniqueNames& unique;
};

// Changes `outcome.pod` and adds reasons, warnings and ConfigMaps. On an error the pod is half done
// and must be thrown away.
Status InjectFuseSidecars(const SidecarRequest& request, const DatasetUses& uses, Outcome& outcome);

}  // namespace sluice::injection
