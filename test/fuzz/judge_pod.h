// Stops the fuzzer with the pod and the property that it breaks.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "admission_properties.h"

namespace sluice::test {

inline void JudgePod(const Json& pod, const std::string& ns, const injection::Settings& settings) {
  const Verdict verdict = Judge(pod, ns, settings);
  if (verdict.fault.empty()) return;
  std::fprintf(stderr, "broken: %s\nin namespace %s: %s\n", verdict.fault.c_str(), ns.c_str(),
               pod.dump(-1, ' ', true, Json::error_handler_t::replace).c_str());
  std::abort();
}

}  // namespace sluice::test
