// Where the API server is and who we are to it: a kubeconfig file or the pod's service account.
#pragma once

#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/log.h"

namespace sluice::kube {

struct Config {
  std::string server;  // "https://host:port", as in a kubeconfig
  std::string ca_pem;  // trust anchors; empty: the system's
  std::string client_certificate_pem;
  platform::Secret client_key_pem;
  platform::Secret token;
  std::string token_file;       // wins over `token`; read again as the kubelet rotates it
  std::string tls_server_name;  // checked instead of the host of `server` when set
  bool insecure_skip_tls_verify = false;
  std::string ns = "default";  // of the context or the service account
};

// The kubeconfig `path` with `context` (empty: its current-context). File references are relative
// to the kubeconfig. exec and auth-provider users are refused with a message that says so.
Result<Config> LoadKubeconfig(const std::string& path, const std::string& context = "");

// The service account mounted into a pod; kUnavailable outside of one. `root` is where the mount
// is, for tests.
Result<Config> InClusterConfig(
    const std::string& root = "/var/run/secrets/kubernetes.io/serviceaccount");

// What every program does with its --kubeconfig flag: the file when given, else the service
// account.
Result<Config> FindConfig(const std::string& kubeconfig);

}  // namespace sluice::kube
