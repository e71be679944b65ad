// Reads files of mounted volumes once and forgets what it read: afterwards they are in the caches
// on their way.
//
//   const Progress end = Prefetch({.file_list = "/data/v/**"}, [&](const Progress& p) { … }, log);
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "sluice/platform/log.h"
#include "sluice/prefetcher/progress.h"

namespace sluice::prefetcher {

struct PrefetchRequest {
  // Patterns of absolute paths (core/path_pattern.h), separated by ";".
  std::string file_list;
  // Each directory below it is a volume of its own, which links do not leave. A pattern elsewhere
  // is held to the directory before its first special character.
  std::string data_root = "/data";
  std::size_t block_bytes = 16U << 20;
  unsigned readers = 4;
  std::chrono::milliseconds started{0};  // of the first try, when this is not the first
};

// Counts first, then reads `readers` files at a time, each sequentially and as far as it was long
// when it was opened. Goes on after a failure; all of them are counted, and the first is kept.
// Memory is bounded by readers * block_bytes and one open directory for each level.
// `report` is called from one thread at a time, about twice a second and at the end.
Progress Prefetch(const PrefetchRequest& request,
                  const std::function<void(const Progress&)>& report, const platform::Log& log);

}  // namespace sluice::prefetcher
