// What must hold for every admission, whatever the pod: shared by the property test and the
// fuzzers.
#pragma once

#include <string>

#include "sluice/core/injection.h"
#include "sluice/ports/object_source.h"

namespace sluice::test {

// The goldens' cluster, and dataset "outer", whose FUSE container uses dataset "inner".
const ObjectSource& PropertyCluster();

// Where a pod is admitted: one of 256 combinations of settings and namespace.
struct Situation {
  injection::Settings settings;
  std::string ns;
};
Situation SituationOf(unsigned char choice);

struct Verdict {
  injection::Outcome outcome;
  std::string fault;  // the property that is broken, with the place; empty when none is
};

// Injects the pod and looks at the outcome:
//  - the same request has the same outcome, byte for byte
//  - it is refused, patched or untouched, and only one of these
//  - where errors are ignored, one that cannot be injected is untouched, and others are as before
//  - the patch applied to the pod gives the patched pod
//  - injecting the patched pod, as another request at another time, changes nothing
//  - FrameFault finds nothing
Verdict Judge(const Json& pod, const std::string& ns, const injection::Settings& settings);

// Says what of `pod` is not as it was in `patched` and not for injection to change. Injection may
// set labels and annotations of its own, add to node affinity, add volumes and containers under
// names that are free, turn claims of datasets into host paths, set the propagation of mounts of
// these (also of those of an earlier injection), and add mounts and a postStart hook to the
// containers that mount them.
std::string FrameFault(const Json& pod, const Json& patched, const std::string& ns);

}  // namespace sluice::test
