// Mount system calls with attacker-safe path handling. All paths are resolved one component at a
// time without following a symlink below `root` ("/" where a call has no root); a symlink or ".."
// in the way is kInvalidArgument that names the path. Nothing here ever stats a FUSE path in a way
// that could ask its server, except that a bind's `sub_path` is looked up by it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::platform {

struct FuseMountOptions {
  std::string source = "sluice";   // shown in the mount table
  std::string subtype = "sluice";  // file system type becomes fuse.<subtype>
  bool read_only = true;
  bool allow_other = true;
  bool default_permissions = true;
};

struct MountEntry {
  std::string mount_point;
  std::string fs_type;
  std::string source;
  std::string root;
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  bool read_only = false;
};

// The text of /proc/<pid>/mountinfo; kInternal names the first malformed line.
Result<std::vector<MountEntry>> ParseMountTable(std::string_view text);
// /proc/self/mountinfo, unescaped, in order (later entries cover earlier ones).
Result<std::vector<MountEntry>> MountTable();
// The topmost mount at exactly this path; kNotFound when there is none.
Result<MountEntry> FindMount(const std::string& path);

// Opens /dev/fuse and mounts it at `target` (an existing directory), nosuid,nodev. The descriptor
// is close-on-exec. Needs CAP_SYS_ADMIN.
Result<UniqueFd> MountFuse(const std::string& target, const FuseMountOptions& options);

// Makes `target` (created 0750 with missing parents below `root`) show `source`, or
// `source/sub_path` resolved beneath it. Idempotent: already so is Ok.
struct BindRequest {
  std::string source;
  std::string sub_path;
  std::string root;  // e.g. the kubelet directory; `target` must lie below it
  std::string target;
  bool read_only = false;
};
Status BindMount(const BindRequest& request);

// Unmounts (lazily when `detach`) until nothing is mounted at `path`. Ok when nothing was.
Status UnmountAll(const std::string& path, bool detach);

// Unmounts the FUSE file system with this device minor from `path`, and nothing above or below it.
// Ok when it is not mounted there; kConflict, naming it, when another mount covers it.
Status UnmountFuse(const std::string& path, std::uint32_t minor, bool detach);

// Creates `path` and missing parents below `root`, following no symlink. Ok when it exists.
Status MakeDirectories(const std::string& root, const std::string& path, unsigned mode);

// Aborts the FUSE connection with this device minor through fusectl, so that waiting tasks can die.
Status AbortFuseConnection(std::uint32_t minor);

// read_ahead_kb of the mount's backing device; the kernel's default is 128 (node-plane.md C2.3).
Status SetReadAhead(std::uint32_t major, std::uint32_t minor, unsigned kilobytes);

}  // namespace sluice::platform
