// How reading and writing a directory look at its files alike.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"
#include "sluice/ports/origin.h"

namespace sluice::origin {

Error FromErrno(int error, std::string what);

// openat2 that cannot leave `root`; `resolve` are further RESOLVE_ flags. Invalid, and errno, on
// failure.
platform::UniqueFd OpenBeneath(int root, const std::string& path, std::uint64_t flags,
                               std::uint64_t resolve);

std::string VersionOfFile(const struct stat& st);
OriginObject ObjectOf(std::string path, const struct stat& st);

}  // namespace sluice::origin
