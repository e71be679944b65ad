// Names for the volumes that injection adds to a pod.
#pragma once

#include <string>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

#include "unique.h"

namespace sluice::injection {

// `wanted`, or when the pod has a volume of that name: its first six characters replaced by
// "fluid-" (a name of up to five characters becomes "fluid"), then its first ten by
// "fluid-<3 random>-", at most 101 times.
Result<std::string> FreeVolumeName(const Json& pod, const std::string& wanted, UniqueNames& unique);

}  // namespace sluice::injection
