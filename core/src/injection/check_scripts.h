// The readiness scripts of Fluid's engines and the ConfigMaps that carry them.
#pragma once

#include <string>

#include "dataset_use.h"

namespace sluice::injection {

inline constexpr const char* kSidecarScript = "check-mount.sh";
inline constexpr const char* kAppScript = "check-fluid-mount-ready.sh";
inline constexpr const char* kAppConfigMap = "check-fluid-mount-ready";

// `<lower case mount type>-default-check-mount`.
std::string SidecarConfigMapName(const std::string& mount_type);

// Waits in the FUSE container until its mount answers.
Json SidecarConfigMap(const DatasetUse& use, const std::string& mount_type);
// Waits in an application container until its datasets are mounted.
Json AppConfigMap(const std::string& ns);

// A volume that shows the script, and the mount of it.
Json ScriptVolume(const std::string& volume, const std::string& config_map);
Json ScriptMount(const std::string& volume, const std::string& script);

// An exec handler that runs `command` through bash.
Json BashHook(const std::string& command);

}  // namespace sluice::injection
