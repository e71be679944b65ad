// What the webhook watches, cut down to what admission reads.
#pragma once

#include <vector>

#include "sluice/kube/informer.h"

namespace sluice::webhook {

std::vector<kube::InformedResource> InformedResources();

}  // namespace sluice::webhook
