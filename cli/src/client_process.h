// sluice-fuse as a child process.
#pragma once

#include <sys/types.h>

#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

#include "mount_request.h"

namespace sluice::cli {

struct ClientProcess {
  pid_t pid = 0;
  platform::UniqueFd handle;  // pidfd: readable when it has ended
};

// Starts the client that lies beside this program (else in PATH), with a clean environment.
Result<ClientProcess> StartClient(const MountRequest& request, const std::string& directory);

// The ended child's state in words: "exit status 1", "signal 9".
std::string Reap(pid_t pid, bool* clean);

}  // namespace sluice::cli
