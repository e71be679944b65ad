#include "link_target.h"

#include <gtest/gtest.h>

namespace sluice::origin {
namespace {

TEST(LinkTargetTest, PlainOnesStayAsTheyAre) {
  for (const auto& [path, target] : {std::pair{"l", "f"},
                                     {"l", "d/f"},
                                     {"l", "."},
                                     {"l", "./d//f/"},
                                     {"a/l", ".."},
                                     {"a/b/l", "../../f"},
                                     {"snapshots/v/f", "../../blobs/x"},
                                     {"a/l", ".././..x"},
                                     {"l", "..."}}) {
    EXPECT_EQ(PlainTarget(path, target), target) << path;
  }
}

TEST(LinkTargetTest, NoneThatLeavesOrMightLeaveTheTreeIsPlain) {
  for (const auto& [path, target] : {std::pair{"l", ".."},
                                     {"l", "../f"},
                                     {"a/l", "../../f"},
                                     {"a/b/l", "../../../f"},
                                     {"a/l", "d/../f"},
                                     {"l", "d/.."},
                                     {"l", "./../f"},
                                     {"l", "/etc/passwd"},
                                     {"l", "/"},
                                     {"l", ""}}) {
    EXPECT_FALSE(PlainTarget(path, target)) << path << " -> " << target;
  }
}

TEST(LinkTargetTest, SaysAPlaceInTheTreeRelatively) {
  EXPECT_EQ(RelativeTarget("l", "f"), "f");
  EXPECT_EQ(RelativeTarget("l", ""), ".");
  EXPECT_EQ(RelativeTarget("a/b/l", ""), "../..");
  EXPECT_EQ(RelativeTarget("a/b/l", "a/b/f"), "f");
  EXPECT_EQ(RelativeTarget("a/b/l", "a/c/f"), "../c/f");
  EXPECT_EQ(RelativeTarget("a/b/l", "ab/f"), "../../ab/f");
  EXPECT_EQ(RelativeTarget("a/b/l", "a"), "../../a");
}

TEST(LinkTargetTest, KnowsWhatLiesBelowTheRoot) {
  EXPECT_EQ(BelowRoot("/data/a/b", "/data"), "a/b");
  EXPECT_EQ(BelowRoot("/data/a", "/data/"), "a");
  EXPECT_EQ(BelowRoot("/data", "/data"), "");
  EXPECT_EQ(BelowRoot("/etc/x", "/"), "etc/x");
  EXPECT_FALSE(BelowRoot("/database/x", "/data"));
  EXPECT_FALSE(BelowRoot("/other", "/data"));
  EXPECT_FALSE(BelowRoot("data/x", "/data"));
}

}  // namespace
}  // namespace sluice::origin
