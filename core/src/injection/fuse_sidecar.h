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

// Whether the pod carries a sidecar of a dataset of its namespace: an injection was here, rather
// than a user who wants none.
bool HasFuseSidecar(const Json& pod, const std::string& ns);

// What came into the pod after its injection, by other webhooks: containers that mount its
// datasets, and claims (`uses`). They share the sidecars that are there; further datasets get their
// own.
Status CompleteFuseSidecars(const SidecarRequest& request, const DatasetUses& uses,
                            Outcome& outcome);

}  // namespace sluice::injection
