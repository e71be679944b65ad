// The FUSE container of a dataset as its runtime left it, ready to be put into a pod.
#pragma once

#include <string>

#include "dataset_use.h"

namespace sluice::injection {

struct FuseTemplate {
  Json container = Json::object();
  Json volumes = Json::array();  // those the container mounts, in the template's order
  std::string host_path;         // the mount point on the node
  std::string mount_type;
  std::string sub_path;      // of the dataset, below the mount point
  std::string mount_volume;  // of the container: the directory of the mount point
  std::string mount_dir;     // where the container sees it
  bool native = false;       // Sluice's own client: probes instead of hooks
};

// Errors name the object that is missing or the field that is wrong.
Result<FuseTemplate> LoadFuseTemplate(const DatasetUse& use, const Lookup& lookup);

struct TemplateRules {
  bool keep_cache_directories = false;
  bool unprivileged = false;
  bool keep_metrics_ports = false;
  std::string unique;  // put into host directories; empty: fixed paths
};

// Applies what pod and platform ask for: cache directories, privileges, metrics ports, host paths.
void AdaptTemplate(const TemplateRules& rules, FuseTemplate& fuse);

// The host directory that replaces the dataset's claim.
std::string DatasetHostPath(const FuseTemplate& fuse, const std::string& unique);

}  // namespace sluice::injection
