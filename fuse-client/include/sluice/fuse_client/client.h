// The FUSE client as a library: the program sluice-fuse is a main around it.
#pragma once

#include "sluice/fuse_client/options.h"

namespace sluice::fuse_client {

// Serves until SIGTERM, SIGINT or the end of the mount. Returns the exit status: 0, or 1 after an
// error that was logged. Call it from main, before any other thread exists.
int RunClient(const Options& options);

// Whether a live FUSE mount at exactly options.check_path answers a stat within two seconds; if
// not, it is asked again until options.check_wait is over. The question is asked by a child
// process, since it may hang. When it does not answer, the client that serves
// options.metrics_addresses (Unix sockets) is asked why, and its reason comes first in the message.
Status CheckMount(const Options& options);

// Asks the client that serves options.metrics_addresses (Unix sockets) to unmount and exit, as
// SIGTERM does. Ok once it has been asked; kUnavailable when there is none.
Status AskToEnd(const Options& options);

}  // namespace sluice::fuse_client
