// Names of workers as a StatefulSet gives them, and keys of chunks as the tier makes them.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

namespace sluice::pool {

inline std::vector<std::string> Workers(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(fmt::format("ds-worker-{}", i));
  return names;
}

inline std::string Chunk(int i) { return fmt::format("pT9v3kXq0aYw5Lr8ZbN2Cd:{:x}", i); }

}  // namespace sluice::pool
