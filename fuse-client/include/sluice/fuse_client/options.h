// What sluice-fuse is told on its command line.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/platform/log.h"

namespace sluice::fuse_client {

struct Options {
  std::string config_file;   // core/fuse_config.h
  std::string origin;        // instead of a config file: one mount at "/"
  std::string options_file;  // of `origin`: {"options": {…}, "secretFiles": {…}, "cache": {…}}
  std::string broker_socket;  // the descriptor comes from a holder …
  std::string mount_path;     // … or this process mounts by itself
  std::vector<std::string> metrics_addresses;
  std::string check_path;              // only look whether this mount answers, and tell why not
  std::chrono::seconds check_wait{0};  // look again for so long until it does
  bool end = false;                    // only ask the running client to end
  bool passthrough = true;
  std::chrono::seconds start_timeout{60};  // of the first answer of the origin; 0: no limit
  std::chrono::seconds refresh{60};        // how often the origin is listed again; 0: never
  platform::LogLevel log_level = platform::LogLevel::kInfo;
};

}  // namespace sluice::fuse_client
