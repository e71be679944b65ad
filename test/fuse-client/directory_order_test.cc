#include "directory_order.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace sluice::fuse_client {
namespace {

using Children = DirectoryOrder::Children;

constexpr std::uint64_t kDirectory = 7;

TEST(DirectoryOrderTest, ThreeStepsInOrderBeginAWalkWhoseWindowGrows) {
  DirectoryOrder order;
  EXPECT_EQ(order.OnOpen(kDirectory, 0, 1000), Children());
  EXPECT_EQ(order.OnOpen(kDirectory, 1, 1000), Children());
  EXPECT_EQ(order.OnOpen(kDirectory, 2, 1000), (Children{3, 7}));
  EXPECT_EQ(order.OnOpen(kDirectory, 3, 1000), (Children{7, 12}));
  EXPECT_EQ(order.OnOpen(kDirectory, 4, 1000), (Children{12, 21}));
}

TEST(DirectoryOrderTest, EveryChildOfAWalkIsHandedOutOnceAndNoneBeyondTheDirectory) {
  DirectoryOrder order;
  constexpr std::uint32_t kCount = 500;
  std::set<std::uint32_t> seen;
  for (std::uint32_t place = 0; place < kCount; ++place) {
    const Children wanted = order.OnOpen(kDirectory, place, kCount);
    EXPECT_LE(wanted.end, std::min(kCount, place + 1 + 64));
    for (std::uint32_t child = wanted.begin; child < wanted.end; ++child) {
      EXPECT_GT(child, place);
      EXPECT_TRUE(seen.insert(child).second) << child;
    }
  }
  EXPECT_EQ(seen.size(), kCount - 3);
}

TEST(DirectoryOrderTest, ReadersThatShareADirectoryAreOneWalk) {
  DirectoryOrder order;
  std::set<std::uint32_t> seen;
  // Four readers, each every fourth file, out of step with one another.
  for (const std::uint32_t place : {1U, 0U, 3U, 2U, 5U, 7U, 4U, 6U, 9U, 8U, 11U, 10U}) {
    const Children wanted = order.OnOpen(kDirectory, place, 100);
    for (std::uint32_t child = wanted.begin; child < wanted.end; ++child) {
      EXPECT_TRUE(seen.insert(child).second) << child;
    }
  }
  EXPECT_GE(seen.size(), 30U);
}

TEST(DirectoryOrderTest, WalksInSeveralDirectoriesDoNotDisturbOneAnother) {
  DirectoryOrder order;
  for (std::uint32_t place = 0; place < 2; ++place) {
    for (std::uint64_t directory = 1; directory <= 10; ++directory) {
      EXPECT_EQ(order.OnOpen(directory, place, 100), Children());
    }
  }
  for (std::uint64_t directory = 1; directory <= 10; ++directory) {
    EXPECT_EQ(order.OnOpen(directory, 2, 100), (Children{3, 7}));
  }
}

TEST(DirectoryOrderTest, ShuffledReadsAskForNextToNothing) {
  DirectoryOrder order;
  std::mt19937 random(1);
  std::vector<std::uint32_t> places(100'000);
  std::iota(places.begin(), places.end(), 0);
  std::shuffle(places.begin(), places.end(), random);
  std::uint64_t asked = 0;
  for (const std::uint32_t place : places) {
    const Children wanted = order.OnOpen(kDirectory, place, 100'000);
    asked += wanted.end - wanted.begin;
  }
  EXPECT_LT(asked, 1000U);
}

TEST(DirectoryOrderTest, OpeningTheSameFilesAgainIsNoWalk) {
  DirectoryOrder order;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(order.OnOpen(kDirectory, 5, 100), Children());
    EXPECT_EQ(order.OnOpen(kDirectory, 6, 100), Children());
  }
  for (std::uint32_t place = 60; place > 50; --place) {  // backwards
    EXPECT_EQ(order.OnOpen(kDirectory, place, 100), Children());
  }
}

TEST(DirectoryOrderTest, NoMoreAreAheadThanAllowed) {
  DirectoryOrder order(2);
  order.OnOpen(kDirectory, 0, 100);
  order.OnOpen(kDirectory, 1, 100);
  EXPECT_EQ(order.OnOpen(kDirectory, 2, 100), (Children{3, 5}));
  EXPECT_EQ(order.OnOpen(kDirectory, 3, 100), (Children{5, 6}));
}

TEST(DirectoryOrderTest, WhatIsGivenBackComesAgain) {
  DirectoryOrder order;
  order.OnOpen(kDirectory, 0, 100);
  order.OnOpen(kDirectory, 1, 100);
  ASSERT_EQ(order.OnOpen(kDirectory, 2, 100), (Children{3, 7}));
  order.GiveBack(kDirectory, 5);
  EXPECT_EQ(order.OnOpen(kDirectory, 3, 100).begin, 5U);
  order.GiveBack(kDirectory, 99);  // was never handed out
  EXPECT_EQ(order.OnOpen(kDirectory, 4, 100), (Children{12, 21}));
}

}  // namespace
}  // namespace sluice::fuse_client
