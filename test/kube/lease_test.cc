#include "sluice/kube/lease.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "fake_cluster.h"
#include "manual_clock.h"

namespace sluice::kube {
namespace {

using std::chrono::seconds;

void Ignore(const Error&) {}

class LeaseTest : public testing::Test {
 protected:
  LeaderElector Elector(const std::string& identity) {
    return {cluster,
            {.lease = {"ns", "lease"}, .identity = identity, .retry = seconds(0)},
            clock,
            platform::Log("test", platform::LogLevel::kError)};
  }
  Json Lease() { return *cluster.Get(resources::kLease, {"ns", "lease"}); }
  // From now on every request with the lease takes so long; a write is not done then.
  void Stall(seconds time) {
    cluster.OnRequest([this, time](const std::string& request) -> Status {
      clock.Advance(time);
      if (request.starts_with("get")) return Ok();
      return Fail(Code::kDeadlineExceeded, "no answer in time");
    });
  }

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
  const Status outcome = a.Run(
      {},
      [&](const std::stop_token& stop) {
        led = true;
        Json lease = Lease();
        lease["metadata"].erase("resourceVersion");
        lease["spec"]["holderIdentity"] = "thief";
        EXPECT_TRUE(cluster.Replace(resources::kLease, lease));
        while (!stop.stop_requested()) std::this_thread::yield();
        ended = true;
      },
      Ignore);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kConflict);
  EXPECT_TRUE(led);
  EXPECT_TRUE(ended);
  EXPECT_EQ(Lease()["spec"]["holderIdentity"], "thief");
}

TEST_F(LeaseTest, RunReleasesWhenStopped) {
  auto a = Elector("a");
  std::stop_source stop;
  const Status outcome = a.Run(
      stop.get_token(),
      [&](const std::stop_token& leading) {
        stop.request_stop();
        while (!leading.stop_requested()) std::this_thread::yield();
      },
      [](const Error& error) { ADD_FAILURE() << error.message; });
  EXPECT_TRUE(outcome);
  EXPECT_EQ(Lease()["spec"]["holderIdentity"], "");
}

TEST_F(LeaseTest, RunTriesAgainWhenSomebodyTouchesTheLease) {
  auto a = Elector("a");
  std::stop_source stop;
  int replaced = 0;
  cluster.OnRequest([&](const std::string& request) -> Status {
    if (!request.starts_with("replace")) return Ok();
    if (++replaced == 4) stop.request_stop();
    if (replaced % 2 == 0) return Ok();
    return Fail(Code::kConflict, "the object has been modified");
  });
  const Status outcome = a.Run(
      stop.get_token(),
      [&](const std::stop_token& leading) {
        while (!leading.stop_requested()) std::this_thread::yield();
      },
      [](const Error& error) { ADD_FAILURE() << error.message; });
  EXPECT_TRUE(outcome);
  EXPECT_GE(replaced, 4);
}

// Others take over when they have seen no renewal for the duration. The holder must be gone by
// then, whatever its requests wait for and whatever its work does.
TEST_F(LeaseTest, AStalledServerCostsTheLeaseBeforeOthersTakeIt) {
  for (const seconds stall : {seconds(1), seconds(3), seconds(4), seconds(5)}) {
    auto a = Elector("a");
    ASSERT_TRUE(*a.TryHold());
    std::atomic<bool> gone = false;
    std::chrono::steady_clock::time_point began;
    std::chrono::steady_clock::time_point lost;
    const Status outcome = a.Run(
        {},
        [&](const std::stop_token&) {
          began = clock.Now();
          Stall(stall);
          while (!gone) std::this_thread::yield();  // it hangs: its token helps nobody
        },
        [&](const Error&) {
          lost = clock.Now();
          gone = true;
        });
    cluster.OnRequest(nullptr);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Code::kConflict);
    EXPECT_LE(lost - began, seconds(15)) << stall.count();
  }
}

}  // namespace
}  // namespace sluice::kube
