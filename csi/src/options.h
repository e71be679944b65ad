// Flags and environment of sluice-csi.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>

#include "sluice/csi/volume_request.h"
#include "sluice/platform/log.h"

namespace sluice::csi {

struct Options {
  std::string node_name;
  std::string endpoint;  // path of the CSI socket
  std::string metrics_address = ":8080";
  std::string kubelet_root = "/var/lib/kubelet";
  std::string pod_logs = "/var/log/pods";
  std::string mount_root = "/runtime-mnt";
  std::string broker_root = "/run/fuse.csi.fluid.io";
  std::string kubeconfig;  // empty: the pod's service account
  std::optional<uid_t> client_uid = 65534;
  PublishMethod publish_method = PublishMethod::kBind;
  std::chrono::seconds recover_timeout{60};
  std::chrono::seconds sweep_period{10};
  platform::LogLevel log_level = platform::LogLevel::kInfo;
};

struct ParsedOptions {
  std::optional<Options> options;  // empty: leave with this status
  int exit_status = 0;
};

// Prints help and errors itself.
ParsedOptions ParseOptions(int argc, char** argv);

}  // namespace sluice::csi
