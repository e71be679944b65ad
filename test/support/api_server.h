// A real kube-apiserver and etcd on free loopback ports, for tests. No controllers run: objects
// stay as they are written.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/kube/config.h"

namespace sluice::test {

class ApiServer {
 public:
  // Why it cannot be started here (a binary is missing); empty when it can.
  static std::string Unavailable();
  // Starts it in a temporary directory; waits until it answers.
  static Result<std::unique_ptr<ApiServer>> Start();
  ~ApiServer();  // ends both processes and removes the directory
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  // Administrator by client certificate, from a kubeconfig with data in base64.
  [[nodiscard]] std::string Kubeconfig() const;
  // The same rights by bearer token.
  [[nodiscard]] kube::Config TokenConfig() const;
  // Stops it in its tracks: connections are taken and requests read by the kernel, nothing is
  // answered. Until Resume.
  void Stall() const;
  void Resume() const;
  // Applies every document of the *.yaml files in a directory of the source tree.
  Status ApplyManifests(const std::filesystem::path& directory) const;

 private:
  ApiServer() = default;
  Status Prepare();
  Status Launch();
  Status WaitUntilReady() const;
  Status Spawn(const std::string& name, const std::vector<std::string>& command);

  std::filesystem::path directory_;
  int etcd_port_ = 0;
  int peer_port_ = 0;
  int port_ = 0;
  std::vector<pid_t> processes_;
};

}  // namespace sluice::test
