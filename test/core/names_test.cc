#include "sluice/core/names.h"

#include <gtest/gtest.h>

namespace sluice::names {
namespace {

TEST(NamesTest, UsesNamespaceAndNameWhileTheLabelIsShort) {
  EXPECT_EQ(WorkerLabel("default", "hbase", "u-1"), "fluid.io/s-default-hbase");
  EXPECT_EQ(FuseLabel("default", "hbase", "u-1"), "fluid.io/f-default-hbase");
  EXPECT_EQ(DatasetId("default", "hbase", "u-1"), "default-hbase");
}

TEST(NamesTest, FallsBackToTheUidAtSixtyThreeCharacters) {
  // "fluid.io/s-" is 11 characters, so ns + "-" + name of 52 makes 63.
  const std::string name(50, 'n');
  EXPECT_EQ(WorkerLabel("a", name, "u-1"), "fluid.io/s-u-1");
  EXPECT_EQ(WorkerLabel("a", name.substr(1), "u-1"), "fluid.io/s-a-" + name.substr(1));
}

TEST(NamesTest, BrokerDirectoryIsShortAndDistinct) {
  EXPECT_EQ(BrokerDirectory("a-b").size(), 32U);
  EXPECT_NE(BrokerDirectory("a-b"), BrokerDirectory("a-c"));
}

}  // namespace
}  // namespace sluice::names
