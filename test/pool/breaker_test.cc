#include "breaker.h"

#include <gtest/gtest.h>

namespace sluice::pool {
namespace {

using std::chrono::milliseconds;

constexpr double kMiddle = 0.5;  // neither longer nor shorter
const Breaker::TimePoint kStart{std::chrono::hours(1)};

TEST(BreakerTest, OpensAfterFailuresInARow) {
  Breaker breaker({.failures = 3});
  EXPECT_FALSE(breaker.Failure(kStart, kMiddle));
  EXPECT_FALSE(breaker.Failure(kStart, kMiddle));
  breaker.Success();
  EXPECT_FALSE(breaker.Failure(kStart, kMiddle));
  EXPECT_FALSE(breaker.Failure(kStart, kMiddle));
  EXPECT_TRUE(breaker.Closed());
  EXPECT_TRUE(breaker.Failure(kStart, kMiddle));
  EXPECT_TRUE(breaker.Open());
  EXPECT_FALSE(breaker.Failure(kStart, kMiddle)) << "it opens once";
  EXPECT_FALSE(breaker.Trip(kStart, kMiddle));
}

TEST(BreakerTest, LetsOneProbeThroughWhenTheTimeIsOver) {
  Breaker breaker({});
  EXPECT_FALSE(breaker.TryProbe(kStart)) << "closed";
  EXPECT_TRUE(breaker.Trip(kStart, kMiddle));
  EXPECT_FALSE(breaker.TryProbe(kStart + milliseconds(999)));
  EXPECT_TRUE(breaker.TryProbe(kStart + milliseconds(1'000)));
  EXPECT_FALSE(breaker.TryProbe(kStart + milliseconds(1'000)));
  EXPECT_FALSE(breaker.Closed());
  EXPECT_FALSE(breaker.Failure(kStart, kMiddle)) << "of an operation from before";
  breaker.Reached();
  EXPECT_TRUE(breaker.Closed());
}

TEST(BreakerTest, DoublesWhileProbesFailUpToTheLongest) {
  Breaker breaker({});
  auto now = kStart;
  for (const int expected : {1, 2, 4, 8, 16, 30, 30}) {
    EXPECT_TRUE(breaker.Trip(now, kMiddle));
    EXPECT_EQ(breaker.ProbeAt() - now, std::chrono::seconds(expected));
    now = breaker.ProbeAt();
    EXPECT_TRUE(breaker.TryProbe(now));
  }
}

TEST(BreakerTest, ForgetsTheDoublingOnlyWhenAnOperationSucceeds) {
  Breaker breaker({});
  EXPECT_TRUE(breaker.Trip(kStart, kMiddle));
  breaker.Reached();
  EXPECT_TRUE(breaker.Trip(kStart, kMiddle));
  EXPECT_EQ(breaker.ProbeAt() - kStart, std::chrono::seconds(2)) << "greeted, but no more";
  breaker.Success();  // of an operation that was under way when it opened
  breaker.Reached();
  breaker.Success();
  EXPECT_TRUE(breaker.Trip(kStart, kMiddle));
  EXPECT_EQ(breaker.ProbeAt() - kStart, std::chrono::seconds(1));
}

TEST(BreakerTest, ChanceVariesTheTimeByAQuarter) {
  Breaker early({});
  EXPECT_TRUE(early.Trip(kStart, 0));
  EXPECT_EQ(early.ProbeAt() - kStart, milliseconds(750));
  Breaker late({});
  EXPECT_TRUE(late.Trip(kStart, 1));
  EXPECT_EQ(late.ProbeAt() - kStart, milliseconds(1'250));
}

}  // namespace
}  // namespace sluice::pool
