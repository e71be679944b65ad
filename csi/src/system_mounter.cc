#include "system_mounter.h"

#include <utility>

#include "sluice/platform/mount.h"
#include "sluice/platform/safe_path.h"

namespace sluice::csi {
namespace {

// No directory of ours has more; a pod may write into one once its mount is gone.
constexpr std::size_t kMaxNames = 100'000;

}  // namespace

Result<std::vector<MountPoint>> SystemMounter::Mounts() {
  SLUICE_TRY(entries, platform::MountTable(), "mount table");
  std::vector<MountPoint> mounts;
  mounts.reserve(entries.size());
  for (platform::MountEntry& entry : entries) {
    mounts.push_back({.path = std::move(entry.mount_point),
                      .fs_type = std::move(entry.fs_type),
                      .source = std::move(entry.source),
                      .root = std::move(entry.root),
                      .major = entry.major,
                      .minor = entry.minor,
                      .read_only = entry.read_only});
  }
  return mounts;
}

Result<PathInfo> SystemMounter::Inspect(const std::string& root, const std::string& path) {
  SLUICE_TRY(facts, platform::InspectPath(root, path), "inspect");
  PathInfo info;
  info.link = std::move(facts.link);
  switch (facts.kind) {
    case platform::PathFacts::Kind::kMissing:
      info.kind = PathInfo::Kind::kMissing;
      break;
    case platform::PathFacts::Kind::kDirectory:
      info.kind = PathInfo::Kind::kDirectory;
      break;
    case platform::PathFacts::Kind::kSymlink:
      info.kind = PathInfo::Kind::kSymlink;
      break;
    case platform::PathFacts::Kind::kOther:
      info.kind = PathInfo::Kind::kOther;
      break;
  }
  return info;
}

Result<std::vector<std::string>> SystemMounter::List(const std::string& root,
                                                     const std::string& path) {
  return platform::ListNames(root, path, kMaxNames);
}

Status SystemMounter::MakeDirectories(const std::string& root, const std::string& path,
                                      unsigned mode) {
  return platform::MakeDirectories(root, path, mode);
}

Status SystemMounter::Remove(const std::string& root, const std::string& path) {
  return platform::RemovePath(root, path);
}

Status SystemMounter::Link(const std::string& source, const std::string& root,
                           const std::string& target) {
  return platform::PutSymlink(source, root, target);
}

Status SystemMounter::Detach(const std::string& path) {
  return platform::UnmountAll(path, /*detach=*/true);
}

Status SystemMounter::Abort(const MountPoint& mount) {
  return platform::AbortFuseConnection(mount.minor);
}

Result<Liveness> SystemMounter::Probe(const std::string& source, const std::string& sub_path) {
  SLUICE_TRY(state, platform::AskDirectory(source, sub_path), "probe");
  switch (state) {
    case platform::DirectoryState::kAnswers:
      return Liveness::kAnswers;
    case platform::DirectoryState::kMissing:
      return Liveness::kMissing;
    case platform::DirectoryState::kDisconnected:
      return Liveness::kDisconnected;
  }
  return Fail(Code::kInternal, "probe: unknown state");
}

Status SystemMounter::Bind(const BindSpec& spec) {
  return platform::BindMount({.source = spec.source,
                              .sub_path = spec.sub_path,
                              .root = spec.root,
                              .target = spec.target,
                              .read_only = spec.read_only});
}

}  // namespace sluice::csi
