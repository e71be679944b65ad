// What a CSI request asks for, as values: the volume attributes of node-plane A2, checked. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::csi {

enum class PublishMethod { kBind, kSymlink };

// The mount that one dataset has on a node and that all its volumes show.
struct MountSource {
  std::string key;          // "<namespace>-<name>" of the runtime that owns the mount
  std::string mount_point;  // host path, attribute fluid_path
  std::string mount_type;   // text to be found in the mount table; "fuse.sluice" is our own
  ObjectKey runtime;        // empty names on volumes that do not say
  std::string node_label;   // key of the node label that starts the FUSE pod; empty: to be derived

  [[nodiscard]] bool IsSluice() const;
  bool operator==(const MountSource&) const = default;
};

struct VolumeRequest {
  std::string volume_id;
  MountSource source;
  std::string sub_path;
  PublishMethod method = PublishMethod::kBind;
  bool reader_only = false;  // by access mode: nobody may write through this volume
  bool read_only = false;    // this target: access mode, readonly flag or mount flag "ro"
  bool skip_check = false;   // do not wait for the mount, only for its path
};

// The fields of a request, whatever the protocol.
struct RawVolume {
  std::string volume_id;
  std::map<std::string, std::string> attributes;
  bool has_capability = false;
  bool block = false;
  bool reader_only = false;
  bool readonly_flag = false;
  std::vector<std::string> mount_flags;
};

struct VolumeRules {
  std::string mount_root = "/runtime-mnt";
  PublishMethod default_method = PublishMethod::kBind;
};

// kInvalidArgument names the attribute, its value and what it should be.
Result<VolumeRequest> ParseVolume(const RawVolume& raw, const VolumeRules& rules);

// A volume id that CreateVolume answers: the lower-cased name, its SHA-1 when longer than 63.
std::string VolumeIdFor(const std::string& name);

}  // namespace sluice::csi
