// Mounts of this machine, as the node plane needs them. The adapter is csi/src/system_mounter.cc,
// the fake test/csi/fake_mounter.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sluice/core/result.h"

namespace sluice {

struct MountPoint {
  std::string path;
  std::string fs_type;
  std::string source;
  std::string root = "/";  // which part of the file system shows here
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  bool read_only = false;

  [[nodiscard]] bool SameFileSystem(const MountPoint& other) const {
    return major == other.major && minor == other.minor;
  }
};

struct BindSpec {
  std::string source;    // a mount point
  std::string sub_path;  // relative; empty: the whole source
  std::string root;      // `target` lies below it
  std::string target;
  bool read_only = false;
};

struct PathInfo {
  enum class Kind { kMissing, kDirectory, kSymlink, kOther };
  Kind kind = Kind::kMissing;
  std::string link;  // what a symlink says
};

// What a directory that may be served by FUSE answers.
enum class Liveness {
  kAnswers,
  kMissing,       // the mount answers, the directory is not there
  kDisconnected,  // its server is gone for good (ENOTCONN)
};

// Threads: any. Paths "below a root" are resolved without following a symlink in any component
// under that root; a symlink in the way is kInvalidArgument that names the path.
class Mounter {
 public:
  virtual ~Mounter() = default;

  // The mount table in order: later entries cover earlier ones at the same path.
  virtual Result<std::vector<MountPoint>> Mounts() = 0;
  // What is at `path` below `root`, following no symlink and asking no FUSE server.
  virtual Result<PathInfo> Inspect(const std::string& root, const std::string& path) = 0;
  // The names in the directory `path`; only within the file system of `root`: kUnavailable for a
  // mount, and for what lies in one. kInvalidArgument for what is no directory or far too large.
  virtual Result<std::vector<std::string>> List(const std::string& root,
                                                const std::string& path) = 0;
  // Creates `path` and missing parents below `root`. Ok when it exists.
  virtual Status MakeDirectories(const std::string& root, const std::string& path,
                                 unsigned mode) = 0;
  // Removes the empty directory or the symlink at `path` below `root`. Ok when missing.
  virtual Status Remove(const std::string& root, const std::string& path) = 0;
  // Puts a symlink with the text `source` at `target` below `root`, in place of an empty directory.
  virtual Status Link(const std::string& source, const std::string& root,
                      const std::string& target) = 0;
  // Detaches everything mounted at `path`, busy or dead alike. Ok when nothing was.
  virtual Status Detach(const std::string& path) = 0;
  // Ends a FUSE connection for good, so that tasks waiting for its server fail instead of hanging.
  virtual Status Abort(const MountPoint& mount) = 0;

  // The next two ask the file system below `source`, so they may take as long as its server does.
  virtual Result<Liveness> Probe(const std::string& source, const std::string& sub_path) = 0;
  // Makes `target` show `source`/`sub_path`; creates the target. Ok when it does already.
  virtual Status Bind(const BindSpec& spec) = 0;
};

}  // namespace sluice
