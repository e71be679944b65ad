// Whether a document is a pod as far as we touch it.
#pragma once

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::injection {

// kInvalidArgument that names the field whose type is wrong. Null counts as absent, unknown fields
// are not looked at.
Status CheckPodShape(const Json& pod);

}  // namespace sluice::injection
