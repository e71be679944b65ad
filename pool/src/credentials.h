// What the client says to a worker that wants to know who asks: the first line "user:password" of
// a file, which is the workers' own (memcached -Y).
#pragma once

#include <string>

#include "sluice/core/result.h"

#include "request.h"

namespace sluice::pool {

// kPermissionDenied names the file and what is wrong with it, never what is in it.
Result<PoolCredentials> ReadPoolCredentials(const std::string& path);

}  // namespace sluice::pool
