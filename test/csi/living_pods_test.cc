#include "sluice/csi/living_pods.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace sluice::csi {
namespace {

class LivingPodsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-kubelet-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    std::filesystem::create_directories(Pods());
    std::filesystem::create_directories(Logs());
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  [[nodiscard]] std::string Pods() const { return root_ + "/kubelet/pods"; }
  [[nodiscard]] std::string Logs() const { return root_ + "/logs"; }

  // What the kubelet has of a pod whose sandbox is there.
  void AddPod(const std::string& uid, const std::string& name) {
    std::filesystem::create_directories(Pods() + "/" + uid);
    std::filesystem::create_directories(Logs() + "/ns_" + name + "_" + uid);
  }
  void StartContainer(const std::string& uid, const std::string& container) {
    std::filesystem::create_directories(Pods() + "/" + uid + "/containers/" + container);
  }
  bool MayHave(const std::string& pod) {
    return LivingPods::Find({.kubelet_root = root_ + "/kubelet", .pod_logs = Logs()}).MayHave(pod);
  }

  std::string root_;
};

TEST_F(LivingPodsTest, AreKnownByTheNamesOfTheirLogDirectories) {
  EXPECT_FALSE(MayHave("reader"));
  AddPod("u1", "reader");
  AddPod("u2", std::string(80, 'a'));
  EXPECT_TRUE(MayHave("reader"));
  EXPECT_TRUE(MayHave(std::string(80, 'a')));
  EXPECT_FALSE(MayHave("read"));
  EXPECT_FALSE(MayHave("ns"));
  EXPECT_FALSE(MayHave("u1"));
}

// An indexed Job gives its pods a host name, which is all that the hosts file has.
TEST_F(LivingPodsTest, MayCallTheirHostOtherwise) {
  AddPod("u1", "job-0-x7k2p");
  StartContainer("u1", "fluid-fuse-0");
  std::ofstream(Pods() + "/u1/etc-hosts") << "# Kubernetes-managed hosts file.\n10.0.0.7\tjob-0\n";
  EXPECT_TRUE(MayHave("job-0---generate-name"));
  EXPECT_FALSE(MayHave("job-1---generate-name"));
}

// A legacy sidecar that waits for its image, beside an application that runs.
TEST_F(LivingPodsTest, CountBeforeTheirSidecarHasStarted) {
  AddPod("u1", "reader");
  StartContainer("u1", "app");
  EXPECT_TRUE(MayHave("reader"));
  EXPECT_FALSE(MayHave("other"));
}

TEST_F(LivingPodsTest, EndWithTheirDirectoryThoughTheirLogsStay) {
  AddPod("u1", "reader");
  std::filesystem::remove_all(Pods() + "/u1");
  EXPECT_FALSE(MayHave("reader"));
}

TEST_F(LivingPodsTest, OfGeneratedNamesAreKnownByTheirPrefix) {
  AddPod("u1", "job-x7k2p");
  const std::string base(58, 'b');  // what the API server leaves of a longer one
  AddPod("u2", base + "x7k2p");
  EXPECT_TRUE(MayHave("job---generate-name"));
  EXPECT_FALSE(MayHave("task---generate-name"));
  EXPECT_TRUE(MayHave(base + "bbbb---generate-name"));
}

TEST_F(LivingPodsTest, WithoutANameMayBeAnyOnceAContainerHasStarted) {
  std::filesystem::create_directories(Pods() + "/u1/volumes");
  EXPECT_FALSE(MayHave("reader")) << "it waits for its volumes, perhaps";
  StartContainer("u1", "app");
  EXPECT_TRUE(MayHave("reader"));
  std::filesystem::create_directories(Logs() + "/odd_u1");
  EXPECT_TRUE(MayHave("reader")) << "that says no name";
  AddPod("u1", "other");
  EXPECT_FALSE(MayHave("reader"));
}

TEST_F(LivingPodsTest, MayBeAnyWhereADirectoryCannotBeRead) {
  std::filesystem::remove_all(Logs());
  EXPECT_TRUE(MayHave("reader")) << "the plugin was not given the directory of logs";
  std::filesystem::create_directories(Logs());
  EXPECT_FALSE(MayHave("reader"));
  std::filesystem::remove_all(Pods());
  EXPECT_TRUE(MayHave("reader")) << "there is no kubelet's directory to be seen";
}

}  // namespace
}  // namespace sluice::csi
