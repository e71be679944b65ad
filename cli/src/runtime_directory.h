// Where the mounts of this machine are noted: one private directory per mount below /run/sluice,
// with the holder's socket, the client's configuration and state.json (docs/cli.md).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::cli {

// What state.json says. Written by the holder only, replaced as a whole.
struct MountRecord {
  std::string path;    // of the mount
  std::string origin;  // without credentials
  std::string state;   // starting, ready, failing, restarting, gave up, detached
  std::string error;   // what the client reported last
  pid_t holder_pid = 0;
  pid_t client_pid = 0;
  std::uint32_t device = 0;  // minor number of the mount; 0: not mounted yet
  std::uint64_t restarts = 0;
  bool passthrough = true;
};

Json ToJson(const MountRecord& record);
Result<MountRecord> ParseMountRecord(const Json& document);

// Creates the directory (0700) when missing; kPermissionDenied when it belongs to somebody else.
// Not in $XDG_RUNTIME_DIR: that goes when root logs out, and with it the sockets of live mounts.
// $SLUICE_RUN_DIR names another directory, for tests and measurements.
Result<std::string> RuntimeDirectory();
// Of one mount, below the runtime directory; not created.
std::string MountDirectory(const std::string& runtime, const std::string& path);

Status WritePrivateFile(const std::string& path, const std::string& content);
Status WriteRecord(const std::string& directory, const MountRecord& record);
Result<MountRecord> ReadRecord(const std::string& directory);

struct KnownMount {
  std::string directory;
  MountRecord record;
};
// Every readable record, sorted by path.
std::vector<KnownMount> KnownMounts(const std::string& runtime);

bool ProcessLives(pid_t pid);

// Whether the record's own file system is still mounted, and not one that came there since.
bool IsMounted(const MountRecord& record);

// The absolute path without symlinks. Only the parent is looked up: the last component may be a
// mount that does not answer.
Result<std::string> CanonicalMountPath(const std::string& path);

}  // namespace sluice::cli
