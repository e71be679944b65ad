// The annotations sluice.io/prefetch*: the pod's datasets are read before the application starts
// ("gate"), or beside it ("async").
#pragma once

#include "dataset_use.h"
#include "unique.h"

namespace sluice::injection {

// Whether the pod asks for it. "false" does not.
bool WantsPrefetch(const Json& pod);

// Does nothing when it was done before. `original` is the pod as it came, whose volumes have their
// claims still. Errors name the annotation.
struct PrefetchInput {
  const Json& original;
  const DatasetUses& uses;
  const Settings& settings;
  UniqueNames& unique;
};
Status InjectPrefetch(const PrefetchInput& input, Outcome& outcome);

}  // namespace sluice::injection
