#include "request_path.h"

#include <gtest/gtest.h>

namespace sluice::kube {
namespace {

TEST(RequestPathTest, CoreGroupedAndClusterScoped) {
  EXPECT_EQ(*ObjectPath(resources::kPod, {"default", "web"}),
            "/api/v1/namespaces/default/pods/web");
  EXPECT_EQ(*ObjectPath(resources::kDaemonSet, {"a", "b"}, "status"),
            "/apis/apps/v1/namespaces/a/daemonsets/b/status");
  EXPECT_EQ(*ObjectPath(resources::kPersistentVolume, {"", "pv"}), "/api/v1/persistentvolumes/pv");
  EXPECT_EQ(*CollectionPath(resources::kPod, ""), "/api/v1/pods");
  EXPECT_EQ(*CollectionPath(resources::kDataset, "ns"),
            "/apis/data.fluid.io/v1alpha1/namespaces/ns/datasets");
}

struct BadKey {
  const char* label;
  ObjectKey key;
};
class BadKeyTest : public testing::TestWithParam<BadKey> {};

TEST_P(BadKeyTest, IsRefusedBeforeItIsSent) {
  const auto path = ObjectPath(resources::kPod, GetParam().key);
  ASSERT_FALSE(path);
  EXPECT_EQ(path.error().code, Code::kInvalidArgument);
  for (const char c : path.error().message) EXPECT_GE(c, ' ') << "a raw byte in the message";
}

INSTANTIATE_TEST_SUITE_P(Table, BadKeyTest,
                         testing::Values(BadKey{"EmptyName", {"ns", ""}},
                                         BadKey{"EmptyNamespace", {"", "n"}},
                                         BadKey{"DotDot", {"ns", ".."}}, BadKey{"Dot", {".", "n"}},
                                         BadKey{"Slash", {"ns", "a/b"}},
                                         BadKey{"Percent", {"ns", "a%2fb"}},
                                         BadKey{"Newline", {"ns", "a\nb"}},
                                         BadKey{"Nul", {"ns", std::string("a\0b", 3)}},
                                         BadKey{"TooLong", {"ns", std::string(254, 'a')}}),
                         [](const auto& row) { return std::string(row.param.label); });

TEST(RequestPathTest, QueryLeavesOutEmptyValuesAndEncodes) {
  EXPECT_EQ(Query({}), "");
  EXPECT_EQ(Query({{"a", ""}}), "");
  EXPECT_EQ(Query({{"labelSelector", "app=x,!y"}, {"limit", "5"}}),
            "?labelSelector=app%3Dx%2C%21y&limit=5");
}

}  // namespace
}  // namespace sluice::kube
