// The real sluice-csi on its sockets, with a kubelet directory of its own and a real API server.
// The test plays the kubelet.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sluice/platform/metrics.h"
#include "sluice/ports/cluster.h"

#include "api_server.h"
#include "csi.grpc.pb.h"
#include "pluginregistration.grpc.pb.h"

namespace sluice::csi {

// Waits until `holds` with a bound; false when it never does.
bool Eventually(const std::function<bool()>& holds,
                std::chrono::milliseconds limit = std::chrono::seconds(10));
// The text of a file, or "errno N".
std::string ReadText(const std::string& path);

class PluginTest : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  void SetUp() override;
  void TearDown() override;

  void StartPlugin(const std::vector<std::string>& flags = {});
  void KillPlugin();  // SIGKILL
  void StopPlugin();  // SIGTERM, expects a clean exit

  // The real FUSE client of a dataset that is this directory, in the background.
  void StartFuseClient(const std::string& data, uid_t uid);
  // Sends the signal (0: none) and returns the exit status; -1 when it does not end.
  int EndFuseClient(int signal);

  // A dataset ns/n with this clean policy in the API.
  void PutDataset(const std::string& clean_policy);
  [[nodiscard]] bool NodeLabelled();

  [[nodiscard]] std::map<std::string, std::string> Attributes() const;
  [[nodiscard]] std::string MountPath() const { return root_ + "/mnt/sluice/ns/n/sluice-fuse"; }
  [[nodiscard]] std::string BrokerSocket() const;
  [[nodiscard]] std::string Target(const std::string& pod) const {
    return root_ + "/kubelet/pods/" + pod + "/volumes/kubernetes.io~csi/ns-n/mount";
  }
  // What the kubelet does before it publishes.
  void MakePodDirectory(const std::string& pod) const;
  [[nodiscard]] bool IsMounted(const std::string& path) const;

  grpc::Status Stage(const std::map<std::string, std::string>& attributes);
  grpc::Status Stage() { return Stage(Attributes()); }
  grpc::Status Unstage();
  grpc::Status Publish(const std::string& target,
                       const std::map<std::string, std::string>& attributes, bool read_only = true,
                       std::chrono::seconds deadline = std::chrono::seconds(20));
  grpc::Status Publish(const std::string& target) { return Publish(target, Attributes()); }
  grpc::Status Unpublish(const std::string& target);

  static std::unique_ptr<test::ApiServer> api_server_;
  static std::unique_ptr<platform::Metrics> metrics_;
  static std::unique_ptr<Cluster> cluster_;

  std::string root_;
  pid_t plugin_ = 0;
  pid_t fuse_client_ = 0;
  std::unique_ptr<::csi::v1::Node::Stub> node_;
  std::unique_ptr<::csi::v1::Identity::Stub> identity_;
  std::unique_ptr<::csi::v1::Controller::Stub> controller_;
  std::unique_ptr<::pluginregistration::Registration::Stub> registration_;
};

#define ASSERT_GRPC_OK(call)                                        \
  do {                                                              \
    const grpc::Status grpc_status_ = (call);                       \
    ASSERT_TRUE(grpc_status_.ok()) << grpc_status_.error_message(); \
  } while (false)

}  // namespace sluice::csi
