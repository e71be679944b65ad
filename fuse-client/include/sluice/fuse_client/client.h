// The FUSE client as a library: the program sluice-fuse is a main around it.
#pragma once

#include "sluice/fuse_client/options.h"

namespace sluice::fuse_client {

// Serves until SIGTERM, SIGINT or the end of the mount. Returns the exit status: 0, or 1 after an
// error that was logged. Call it from main, before any other thread exists.
int RunClient(const Options& options);

// Whether a live FUSE mount at exactly `path` answers a stat within two seconds. The question is
// asked by a child process, since it may hang.
Status CheckMount(const std::string& path);

}  // namespace sluice::fuse_client
