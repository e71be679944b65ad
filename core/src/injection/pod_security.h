// FUSE containers in pods and namespaces that restrict what containers may do.
#pragma once

#include <string>
#include <vector>

#include "sluice/core/resource.h"

namespace sluice::injection {

// Mounting takes root, whatever the pod's own securityContext asks of its containers: gives the
// container its own word where it would inherit another, and says so in `warnings`. Containers that
// mount nothing themselves are left alone; `warnings` says if the kubelet cannot start one.
void ShieldFromPodSecurity(const Json& pod, const std::string& name, Json& container,
                           std::vector<std::string>& warnings);

// Says in `warnings` what of an injected pod the namespace's Pod Security level will refuse, and
// the way out. `enforced` is the namespace's label pod-security.kubernetes.io/enforce.
void WarnOfPodSecurity(const Json& pod, const std::string& ns, const std::string& enforced,
                       std::vector<std::string>& warnings);

}  // namespace sluice::injection
