// The plugin FilePrefetcher: a container that reads files of the pod's datasets before the
// application starts, or beside it.
#pragma once

#include "dataset_use.h"
#include "unique.h"

namespace sluice::injection {

// Does nothing unless the pod's annotations ask for it. Errors name the annotation.
Status InjectFilePrefetcher(const DatasetUses& uses, const Settings& settings, UniqueNames& unique,
                            Outcome& outcome);

}  // namespace sluice::injection
