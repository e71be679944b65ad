#include "bell.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace sluice::fuse_client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr seconds kLong{10};

TEST(BellTest, RingEndsTheSleepAndIsUsedUp) {
  Bell bell;
  const std::stop_source stop;
  bell.Ring();
  const auto start = Clock::now();
  EXPECT_TRUE(bell.Sleep(stop.get_token(), kLong));
  EXPECT_LT(Clock::now() - start, kLong);
  EXPECT_TRUE(bell.Sleep(stop.get_token(), milliseconds(1))) << "rung once, woken once";
}

TEST(BellTest, SleepOfNoTimeUsesUpTheRing) {
  Bell bell;
  const std::stop_source stop;
  bell.Ring();
  EXPECT_TRUE(bell.Sleep(stop.get_token(), milliseconds(0)));
  const auto start = Clock::now();
  EXPECT_TRUE(bell.Sleep(stop.get_token(), milliseconds(50)));
  EXPECT_GE(Clock::now() - start, milliseconds(50));
}

TEST(BellTest, StopThatComesBeforeTheSleepEndsIt) {
  Bell bell;
  std::stop_source stop;
  stop.request_stop();
  const auto start = Clock::now();
  EXPECT_FALSE(bell.Sleep(stop.get_token(), kLong));
  EXPECT_LT(Clock::now() - start, kLong);
}

// The stop falls into each moment of falling asleep; one that was lost would cost the whole sleep.
TEST(BellTest, NoStopIsLost) {
  Bell bell;
  const auto end = Clock::now() + seconds(3);
  for (int round = 0; round < 50'000 && Clock::now() < end; ++round) {
    std::stop_source stop;
    std::atomic<bool> ready = false;
    const auto start = Clock::now();
    std::jthread sleeper([&] {
      ready = true;
      bell.Sleep(stop.get_token(), kLong);
    });
    while (!ready) std::this_thread::yield();
    for (int spin = 0; spin < round % 512; ++spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    stop.request_stop();
    sleeper.join();
    ASSERT_LT(Clock::now() - start, kLong) << "round " << round;
  }
}

}  // namespace
}  // namespace sluice::fuse_client
