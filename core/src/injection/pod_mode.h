// Which mode a pod is injected in: what its labels say, or what its namespace leaves to us.
#pragma once

#include "dataset_use.h"
#include "fuse_sidecar.h"

namespace sluice::injection {

// What the pod's own labels ask for; kNone when they say nothing.
Mode LabelledMode(const Json& pod, const Settings& settings);

// The platform of a pod in sidecar mode. kInvalidArgument for one that does not exist.
Result<Platform> PlatformOf(const Json& pod, const Settings& settings);

// Whether the pod is bound for a node without the node plugin; says by what ("nodeSelector type").
// Empty when it is not. A label of the namespace counts where the pod has no word of its own.
std::string BoundForServerlessNode(const Json& pod, const Json& namespace_labels,
                                   const ServerlessTable& table);

}  // namespace sluice::injection
