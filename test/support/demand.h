// For properties that fuzzers and random tests ask for: what breaks one stops the process, loudly.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace sluice::test {

// Aborts unless the property holds; prints it, and what it was asked of.
inline void Demand(bool holds, const char* property, std::string_view of) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n%.*s\n", property, static_cast<int>(of.size()), of.data());
  std::abort();
}

}  // namespace sluice::test
