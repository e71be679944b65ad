#include "sluice/kube/lease.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "fake_cluster.h"
#include "manual_clock.h"

namespace sluice::kube {
namespace {

using std::chrono::seconds;

class LeaseTest : public testing::Test {
 protected:
  LeaderElector Elector(const std::string& identity) {
    return {cluster,
            {.lease = {"ns", "lease"}, .identity = identity, .retry = seconds(0)},
            clock,
            platform::Log("test", platform::LogLevel::kError)};
  }
  Json Lease() { return *cluster.Get(resources::kLease, {"ns", "lease"}); }

  test::FakeCluster cluster;
  test::ManualClock clock;
};

TEST_F(LeaseTest, OneHoldsItAndRenews) {
  auto a = Elector("a");
  auto b = Elector("b");
  EXPECT_TRUE(*a.TryHold());
  EXPECT_FALSE(*b.TryHold());
  clock.Advance(seconds(14));
  EXPECT_TRUE(*a.TryHold());
  clock.Advance(seconds(14));
  EXPECT_FALSE(*b.TryHold()) << "seen renewed a moment ago";
  EXPECT_EQ(Lease()["spec"]["leaseTransitions"], 0);
}

TEST_F(LeaseTest, ADeadHolderIsReplacedAfterTheDuration) {
  auto a = Elector("a");
  auto b = Elector("b");
  EXPECT_TRUE(*a.TryHold());
  EXPECT_FALSE(*b.TryHold());
  clock.Advance(seconds(15));
  EXPECT_TRUE(*b.TryHold());
  EXPECT_EQ(Lease()["spec"]["holderIdentity"], "b");
  EXPECT_EQ(Lease()["spec"]["leaseTransitions"], 1);
  EXPECT_FALSE(*a.TryHold()) << "it must not think that it still leads";
}

TEST_F(LeaseTest, ALateComerGivesTheHolderItsFullTime) {
  auto a = Elector("a");
  EXPECT_TRUE(*a.TryHold());
  clock.Advance(seconds(60));  // nobody knows for how long a has been silent
  auto b = Elector("b");
  EXPECT_FALSE(*b.TryHold());
}

TEST_F(LeaseTest, AReleasedLeaseIsFreeAtOnce) {
  auto a = Elector("a");
  auto b = Elector("b");
  EXPECT_TRUE(*a.TryHold());
  EXPECT_TRUE(b.Release()) << "not ours: nothing to do";
  EXPECT_FALSE(*b.TryHold());
  EXPECT_TRUE(a.Release());
  EXPECT_TRUE(*b.TryHold());
}

TEST_F(LeaseTest, RunLeadsUntilTheLeaseIsLost) {
  auto a = Elector("a");
  std::atomic<bool> led = false;
  std::atomic<bool> ended = false;
  const Status outcome = a.Run({}, [&](const std::stop_token& stop) {
    led = true;
    Json lease = Lease();
    lease["metadata"].erase("resourceVersion");
    lease["spec"]["holderIdentity"] = "thief";
    EXPECT_TRUE(cluster.Replace(resources::kLease, lease));
    while (!stop.stop_requested()) std::this_thread::yield();
    ended = true;
  });
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kConflict);
  EXPECT_TRUE(led);
  EXPECT_TRUE(ended);
  EXPECT_EQ(Lease()["spec"]["holderIdentity"], "thief");
}

TEST_F(LeaseTest, RunReleasesWhenStopped) {
  auto a = Elector("a");
  std::stop_source stop;
  const Status outcome = a.Run(stop.get_token(), [&](const std::stop_token& leading) {
    stop.request_stop();
    while (!leading.stop_requested()) std::this_thread::yield();
  });
  EXPECT_TRUE(outcome);
  EXPECT_EQ(Lease()["spec"]["holderIdentity"], "");
}

}  // namespace
}  // namespace sluice::kube
