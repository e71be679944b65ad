// Paths that arrive in CSI requests, checked before anything touches the file system. Pure.
#pragma once

#include <string>
#include <string_view>

#include "sluice/core/result.h"

namespace sluice::csi {

// A directory of a pod in which a volume is to appear:
// <kubelet root>/pods/<uid>/volumes/kubernetes.io~csi/<volume name>/mount.
struct TargetPath {
  std::string path;
  std::string pod_uid;
  std::string volume_name;  // the PersistentVolume; empty when the path has another shape
};

// `path` without duplicate and trailing slashes. kInvalidArgument, naming `field`, for a path that
// is not absolute, has "." or ".." components, control characters, or more than 4095 bytes.
Result<std::string> CleanAbsolutePath(std::string_view path, std::string_view field);

// A relative path without empty or "." components; leading slashes are dropped. ".." is
// kInvalidArgument. Empty means "the whole".
Result<std::string> CleanSubPath(std::string_view path, std::string_view field);

// True when `path` lies strictly below `root`; both clean.
bool IsBelow(std::string_view path, std::string_view root);

// kInvalidArgument for paths that are not below <kubelet root>/pods/<uid>.
Result<TargetPath> ParseTargetPath(std::string_view path, std::string_view kubelet_root);

}  // namespace sluice::csi
