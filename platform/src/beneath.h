// Directories opened one component at a time with O_NOFOLLOW: no symlink, "..", or magic link can
// lead elsewhere. The same promise as openat2(RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|
// RESOLVE_NO_MAGICLINKS), on every kernel, and it can create what is missing on its way.
#pragma once

#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::platform {

enum class Missing { kFail, kCreate };

struct BeneathOptions {
  Missing missing = Missing::kFail;
  unsigned mode = 0750;  // of created directories
};

// An O_PATH descriptor of the directory `relative` below `root`. "" and "/" are the root itself.
Result<UniqueFd> OpenBeneath(int root, const std::string& relative,
                             const BeneathOptions& options = {});

// An absolute path without any symlink, from "/".
Result<UniqueFd> OpenAbsolute(const std::string& path);

// `path` less its prefix `root`; kInvalidArgument when it does not lie below.
Result<std::string> RelativeTo(const std::string& root, const std::string& path);

// The error of a failed call on `object`, with the code that fits the errno.
Error FromErrno(int error, const std::string& object);

}  // namespace sluice::platform
