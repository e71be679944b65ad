// What the webhook watches, cut down to what admission reads.
#pragma once

#include <vector>

#include "sluice/kube/informer.h"

namespace sluice::webhook {

std::vector<kube::InformedResource> InformedResources();

// The same cut for an object of any kind; those that are not watched stay as they are.
void KeepWhatAdmissionReads(Json& object);

}  // namespace sluice::webhook
