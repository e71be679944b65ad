#include "hedge_policy.h"

#include <gtest/gtest.h>

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const HedgePolicy::Time kNow{seconds(1000)};

void Answer(HedgePolicy& policy, int times, milliseconds after) {
  for (int i = 0; i < times; ++i) {
    policy.OnRequest();
    policy.OnFirstByte(after);
  }
}

TEST(HedgePolicyTest, KnowsNothingBeforeEnoughAnswers) {
  HedgePolicy policy;
  Answer(policy, 15, milliseconds(100));
  EXPECT_FALSE(policy.Threshold(kNow));
  Answer(policy, 1, milliseconds(100));
  EXPECT_EQ(policy.Threshold(kNow), milliseconds(200)) << "twice the median";
}

TEST(HedgePolicyTest, NothingIsSlowBelowTheFloor) {
  HedgePolicy policy({.floor = milliseconds(50)});
  Answer(policy, 100, milliseconds(1));
  EXPECT_EQ(policy.Threshold(kNow), milliseconds(50));
}

TEST(HedgePolicyTest, WhatATwentiethExceedsIsSlow) {
  HedgePolicy policy;
  for (int i = 0; i < 16; ++i) {
    Answer(policy, 7, milliseconds(100));
    Answer(policy, 1, milliseconds(900));
  }
  EXPECT_EQ(policy.Threshold(kNow), milliseconds(900)) << "an eighth is";
}

TEST(HedgePolicyTest, ForgetsHowItWas) {
  HedgePolicy policy;
  Answer(policy, 200, milliseconds(100));
  Answer(policy, 200, milliseconds(1000));
  EXPECT_EQ(policy.Threshold(kNow), milliseconds(2000));
  Answer(policy, 200, milliseconds(100));
  EXPECT_EQ(policy.Threshold(kNow), milliseconds(200));
}

TEST(HedgePolicyTest, SecondRequestsAreATwentiethAndAFewMore) {
  HedgePolicy policy({.share = 0.05, .burst = 2});
  int taken = 0;
  for (int i = 0; i < 1000; ++i) {
    policy.OnRequest();
    while (policy.Take(kNow)) ++taken;
  }
  EXPECT_GE(taken, 50);
  EXPECT_LE(taken, 52);
}

TEST(HedgePolicyTest, QuietTimesSaveUpNoMoreThanTheBurst) {
  HedgePolicy policy({.share = 0.05, .burst = 2});
  for (int i = 0; i < 1000; ++i) policy.OnRequest();
  EXPECT_TRUE(policy.Take(kNow));
  EXPECT_TRUE(policy.Take(kNow));
  EXPECT_FALSE(policy.Take(kNow));
}

TEST(HedgePolicyTest, AnOverloadedOriginIsLeftAlone) {
  HedgePolicy policy({.calm = seconds(30)});
  Answer(policy, 100, milliseconds(100));
  policy.OnOverload(kNow);
  EXPECT_FALSE(policy.Threshold(kNow + seconds(29)));
  EXPECT_FALSE(policy.Take(kNow + seconds(29)));
  EXPECT_TRUE(policy.Threshold(kNow + seconds(30)));
  EXPECT_TRUE(policy.Take(kNow + seconds(30)));
}

}  // namespace
}  // namespace sluice::origin
