// Single file-system steps below a root, following no symlink in any component under it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sluice/core/result.h"

namespace sluice::platform {

struct PathFacts {
  enum class Kind { kMissing, kDirectory, kSymlink, kOther };
  Kind kind = Kind::kMissing;
  std::string link;  // what a symlink says
};

// What is at `path`; asks no FUSE server. A symlink in the way to it is kInvalidArgument.
Result<PathFacts> InspectPath(const std::string& root, const std::string& path);

// Removes an empty directory or a symlink. Ok when nothing is there.
Status RemovePath(const std::string& root, const std::string& path);

// The names in the directory `path`, sorted. Only within the file system of `root`: a mount is
// neither entered nor asked (kUnavailable), so no FUSE server can make this wait. kInvalidArgument
// for what is no directory, and for one with more than `max_names`. Needs Linux 5.6.
Result<std::vector<std::string>> ListNames(const std::string& root, const std::string& path,
                                           std::size_t max_names);

// Puts a symlink with this text at `path`, in place of an empty directory.
Status PutSymlink(const std::string& text, const std::string& root, const std::string& path);

enum class DirectoryState {
  kAnswers,
  kMissing,       // no such directory, or not a directory
  kDisconnected,  // a FUSE mount whose server is gone for good
};

// Asks the file system for `path`/`sub_path` and may therefore wait as long as its server does.
Result<DirectoryState> AskDirectory(const std::string& path, const std::string& sub_path);

// A regular file of at most `max_bytes` below `root`. Symlinks are followed as long as they stay
// below the directory of `path` (the kubelet writes projected files so). Needs Linux 5.6.
Result<std::string> ReadFileBeneath(const std::string& root, const std::string& path,
                                    std::size_t max_bytes);

}  // namespace sluice::platform
