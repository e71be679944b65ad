#include "sluice/csi/sidecar_pods.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace sluice::csi {
namespace {

class SidecarPodsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-kubelet-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    std::filesystem::create_directories(root_ + "/pods");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  // What the kubelet has of a pod whose container has started.
  void AddPod(const std::string& uid, const std::string& container, const std::string& hosts) {
    std::filesystem::create_directories(root_ + "/pods/" + uid + "/containers/" + container);
    std::ofstream(root_ + "/pods/" + uid + "/etc-hosts") << hosts;
  }
  static std::string HostsOf(const std::string& name) {
    return "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"
           "fe00::0\tip6-localnet\n10.0.0.7\t" +
           name + "\n";
  }
  bool MayHave(const std::string& pod) { return SidecarPods::Find(root_).MayHave(pod); }

  std::string root_;
};

TEST_F(SidecarPodsTest, AreThoseWithASidecarByTheNameInTheirHostsFile) {
  EXPECT_FALSE(MayHave("reader"));
  AddPod("u1", "app", HostsOf("plain"));
  AddPod("u2", "fluid-fuse-0", HostsOf("reader"));
  AddPod("u3", "fluid-fuse-0", HostsOf("web-0.web.ns.svc.cluster.local\tweb-0"));
  AddPod("u4", "fluid-fuse-0",
         HostsOf("aliased") + "\n# Entries added by HostAliases.\n10.1.1.1\tother\n");
  EXPECT_TRUE(MayHave("reader"));
  EXPECT_TRUE(MayHave("web-0"));
  EXPECT_TRUE(MayHave("aliased"));
  EXPECT_FALSE(MayHave("plain"));
  EXPECT_FALSE(MayHave("read"));
  EXPECT_FALSE(MayHave("other"));
}

TEST_F(SidecarPodsTest, OfGeneratedNamesAreKnownByTheirPrefix) {
  AddPod("u1", "fluid-fuse-0", HostsOf("job-x7k2p"));
  EXPECT_TRUE(MayHave("job---generate-name"));
  EXPECT_FALSE(MayHave("task---generate-name"));
}

TEST_F(SidecarPodsTest, OfLongNamesAreKnownByWhatTheKubeletLeavesOfThem) {
  const std::string name = std::string(62, 'a') + "-" + std::string(20, 'b');
  AddPod("u1", "fluid-fuse-0", HostsOf(std::string(62, 'a')));
  EXPECT_TRUE(MayHave(name));
  EXPECT_FALSE(MayHave("aaa"));
}

TEST_F(SidecarPodsTest, ThatCannotBeToldMayBeAny) {
  AddPod("u1", "fluid-fuse-0",
         "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n");
  EXPECT_TRUE(MayHave("reader"));
  std::filesystem::remove_all(root_ + "/pods/u1");
  EXPECT_FALSE(MayHave("reader"));
  AddPod("u1", "fluid-fuse-0", "");
  EXPECT_TRUE(MayHave("reader"));
  std::filesystem::remove(root_ + "/pods/u1/etc-hosts");
  EXPECT_TRUE(MayHave("reader"));
  std::filesystem::remove_all(root_ + "/pods");
  EXPECT_TRUE(MayHave("reader")) << "there is no kubelet's directory to be seen";
}

}  // namespace
}  // namespace sluice::csi
