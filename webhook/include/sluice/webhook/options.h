// Flags and environment of sluice-webhook.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sluice/core/injection_settings.h"
#include "sluice/core/result.h"

namespace sluice::webhook {

struct Options {
  int port = 9443;
  std::string bind_address = "0.0.0.0";
  std::string cert_dir = "/etc/k8s-webhook-server/certs";
  bool cert_dir_given = false;
  std::string metrics_address = ":8080";
  std::string kubeconfig;
  std::string state_file;  // serve from this file, without a cluster
  bool self_signed = false;
  bool certificate_from_files = false;  // in a cluster: another keeps certificate and caBundle
  std::string plugin_profile = "/etc/fluid/plugins.profile";
  bool plugin_profile_given = false;
  std::string serverless_table;
  int shutdown_delay_seconds = 0;
  bool debug = false;
  std::string ns;  // of this process
  injection::Settings settings = injection::DefaultSettings();

  [[nodiscard]] bool HasCluster() const { return state_file.empty(); }
};

// The value of an environment variable, empty when unset.
using Environment = std::function<std::string(const std::string&)>;

// What to do after parsing: go on with `options`, or print `text` and exit with `exit_code`.
struct ParsedOptions {
  bool run = false;
  Options options;
  std::string text;
  int exit_code = 0;
};

// Reads the arguments (without the program's name), the environment and the files they name.
ParsedOptions ParseOptions(std::vector<std::string> arguments, const Environment& environment);

}  // namespace sluice::webhook
