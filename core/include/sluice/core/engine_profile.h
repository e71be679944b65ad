// An engine as data: what its runtime kind is called and what its FUSE pods look like. The
// renderer of runtime_plan.h knows no engine by name; a new one is a new profile.
#pragma once

#include <string>

#include "sluice/core/resource.h"

namespace sluice {

// Strings in the templates may hold ${…} placeholders; runtime_plan.cc lists them.
struct EngineProfile {
  ResourceType runtime;       // the runtime's kind
  std::string type;           // in Dataset.status.runtimes and below the mount root
  std::string mount_leaf;     // last component of fluid_path
  std::string mount_type;     // volume attribute mount_type
  std::string app;            // label app; roles are "<app>-fuse", "<app>-worker"
  std::string finalizer;      // on the runtime
  std::string cache_path;     // where a node cache volume is mounted; empty: it has none
  std::string config_suffix;  // ConfigMap "<n><suffix>" with the key config.json
  // Pod templates ({metadata, spec} with one container). The client of an ordinary node becomes
  // DaemonSet "<n>-fuse"; the sidecar becomes PodTemplate "<n>-fuse-sidecar"; null: none.
  Json node_client;
  Json sidecar;
  // Of a cache worker, for StatefulSet "<n>-worker", without image and arguments; null: none.
  Json worker;
};

// Kind SluiceRuntime: sluice-fuse, unprivileged beside the CSI plugin's mount broker, or mounting
// for itself as a sidecar.
const EngineProfile& NativeProfile();

}  // namespace sluice
