#include "sluice/csi/target_path.h"

#include <ostream>

#include <gtest/gtest.h>

namespace sluice::csi {
namespace {

constexpr const char* kKubelet = "/var/lib/kubelet";

struct TargetCase {
  const char* name;
  std::string path;
  const char* error;  // part of the message; empty: accepted
  const char* volume = "";
};
void PrintTo(const TargetCase& c, std::ostream* out) { *out << c.name; }

class TargetPathTest : public testing::TestWithParam<TargetCase> {};

TEST_P(TargetPathTest, IsAcceptedOrRefusedWithItsReason) {
  const TargetCase& c = GetParam();
  const auto target = ParseTargetPath(c.path, kKubelet);
  if (*c.error != '\0') {
    ASSERT_FALSE(target);
    EXPECT_EQ(target.error().code, Code::kInvalidArgument);
    EXPECT_NE(target.error().message.find(c.error), std::string::npos) << target.error().message;
    return;
  }
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_EQ(target->pod_uid, "u1");
  EXPECT_EQ(target->volume_name, c.volume);
}

INSTANTIATE_TEST_SUITE_P(
    Table, TargetPathTest,
    testing::Values(
        TargetCase{"Kubelet", "/var/lib/kubelet/pods/u1/volumes/kubernetes.io~csi/pv-1/mount", "",
                   "pv-1"},
        TargetCase{"TrailingSlash", "/var/lib/kubelet//pods/u1/volumes/kubernetes.io~csi/p/mount/",
                   "", "p"},
        TargetCase{"OtherShapeInPod", "/var/lib/kubelet/pods/u1/x", ""},
        TargetCase{"Relative", "pods/u1/x", "not absolute"},
        TargetCase{"Empty", "", "not absolute"},
        TargetCase{"DotDot", "/var/lib/kubelet/pods/u1/../../../etc", "\"..\" component"},
        TargetCase{"Dot", "/var/lib/kubelet/pods/./u1/x", "\".\" component"},
        TargetCase{"Outside", "/etc/kubernetes", "is not below"},
        TargetCase{"PrefixOnly", "/var/lib/kubelet/pods-evil/u1/x", "is not below"},
        TargetCase{"PodsItself", "/var/lib/kubelet/pods", "is not below"},
        TargetCase{"PodItself", "/var/lib/kubelet/pods/u1", "is not below"},
        TargetCase{"Newline", "/var/lib/kubelet/pods/u1/a\nb", "control character"},
        TargetCase{"Nul", std::string("/var/lib/kubelet/pods/u1/a\0b", 28), "control character"},
        TargetCase{"TooLong", "/var/lib/kubelet/pods/u1/" + std::string(5000, 'a'),
                   "longer than 4095"}),
    [](const auto& test) { return std::string(test.param.name); });

struct SubPathCase {
  const char* name;
  const char* path;
  const char* clean;  // null: refused
};
void PrintTo(const SubPathCase& c, std::ostream* out) { *out << c.name; }

class SubPathTest : public testing::TestWithParam<SubPathCase> {};

TEST_P(SubPathTest, StaysBelowTheMount) {
  const SubPathCase& c = GetParam();
  const auto path = CleanSubPath(c.path, "fluid_sub_path");
  ASSERT_EQ(path.has_value(), c.clean != nullptr);
  if (path) {
    EXPECT_EQ(*path, c.clean);
  }
}

INSTANTIATE_TEST_SUITE_P(Table, SubPathTest,
                         testing::Values(SubPathCase{"Empty", "", ""},
                                         SubPathCase{"Plain", "a/b", "a/b"},
                                         SubPathCase{"LeadingSlash", "/a", "a"},
                                         SubPathCase{"Untidy", "./a//b/", "a/b"},
                                         SubPathCase{"DotDot", "a/../b", nullptr},
                                         SubPathCase{"OnlyDotDot", "..", nullptr},
                                         SubPathCase{"DotsInName", "a..b", "a..b"}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace sluice::csi
