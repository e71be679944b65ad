// The background process behind one mount: mounts, keeps the descriptor, keeps a client running.
#pragma once

#include <functional>
#include <string>

#include "sluice/core/result.h"

namespace sluice::cli {

// Serves the request in `directory` until the mount is gone or SIGTERM/SIGINT comes; then unmounts
// and removes the directory. `started` is called once: when the file system answers, or with the
// reason why it will not (then the mount is gone again and the same error is returned). Call it
// from main, before any other thread exists.
Status KeepMount(const std::string& directory, const std::function<void(const Status&)>& started);

}  // namespace sluice::cli
