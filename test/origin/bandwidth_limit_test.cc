#include "bandwidth_limit.h"

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bandwidth_gate.h"

namespace sluice::origin {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kRate = 4 << 20;
constexpr std::uint64_t kPiece = 16 << 10;
const BandwidthLimit::Time kBegin{seconds(1000)};

TEST(BandwidthLimitTest, NoLimitIsNone) {
  BandwidthLimit limit(0);
  BandwidthLimit::Ticket ticket;
  EXPECT_FALSE(limit.Limits());
  EXPECT_TRUE(limit.Take(ticket, ~std::uint64_t{0}, kBegin));
  EXPECT_FALSE(limit.NextAdmission());
}

TEST(BandwidthLimitTest, NamesTheTimeWhenItGoesOn) {
  BandwidthLimit limit(kRate);
  BandwidthLimit::Ticket ticket;
  while (limit.Take(ticket, kPiece, kBegin)) {
  }
  ASSERT_TRUE(ticket.waiting);
  const auto next = limit.NextAdmission();
  ASSERT_TRUE(next);
  EXPECT_GT(*next, kBegin);
  EXPECT_THAT(limit.Admit(*next - milliseconds(1)), IsEmpty());
  EXPECT_THAT(limit.Admit(*next), ElementsAre(&ticket));
  EXPECT_TRUE(limit.Take(ticket, kPiece, *next));
}

TEST(BandwidthLimitTest, ReadersTakeTurns) {
  BandwidthLimit limit(kRate);
  std::array<BandwidthLimit::Ticket, 4> tickets;
  std::array<std::uint64_t, 4> taken = {};
  auto now = kBegin;
  const auto take_all = [&](std::size_t reader) {
    while (limit.Take(tickets[reader], kPiece, now)) taken[reader] += kPiece;
  };
  for (std::size_t i = 0; i < tickets.size(); ++i) take_all(i);
  for (int step = 0; step < 4000; ++step) {
    now += milliseconds(1);
    for (BandwidthLimit::Ticket* const admitted : limit.Admit(now)) {
      take_all(static_cast<std::size_t>(admitted - tickets.data()));
    }
  }
  for (const std::uint64_t bytes : taken) {
    EXPECT_NEAR(static_cast<double>(bytes), kRate, kRate / 10.0) << "a quarter of four seconds";
  }
}

TEST(BandwidthLimitTest, NeverGivesMoreThanRateTimesTimeAndTheBurst) {
  std::mt19937 random(7);
  BandwidthLimit limit(kRate);
  std::array<BandwidthLimit::Ticket, 5> tickets;
  std::uint64_t taken = 0;
  auto now = kBegin;
  for (int step = 0; step < 20'000; ++step) {
    now += std::chrono::microseconds(random() % 5000);
    BandwidthLimit::Ticket& ticket = tickets[random() % tickets.size()];
    (void)limit.Admit(now);
    const std::uint64_t bytes = 1 + random() % (4 * kPiece);
    if (random() % 50 == 0) {
      limit.Leave(ticket);
    } else if (limit.Take(ticket, bytes, now)) {
      taken += bytes;
    }
    const double elapsed = duration<double>(now - kBegin).count();
    ASSERT_LE(static_cast<double>(taken),
              static_cast<double>(kRate) * elapsed + static_cast<double>(limit.Burst()));
  }
  EXPECT_GT(taken, kRate * 20) << "and not much less: the steps took 50 seconds";
}

TEST(BandwidthLimitTest, OneWhoWantsMoreThanTheBucketHoldsGetsItAndOwesIt) {
  BandwidthLimit limit(kRate);
  BandwidthLimit::Ticket ticket;
  const std::uint64_t bytes = 10 * limit.Burst();
  ASSERT_TRUE(limit.Take(ticket, bytes, kBegin));
  EXPECT_FALSE(limit.Take(ticket, 1, kBegin + milliseconds(1)));
  EXPECT_GT(*limit.NextAdmission(), kBegin + milliseconds(500));
}

TEST(BandwidthLimitTest, WhoLeavesGivesBack) {
  BandwidthLimit limit(kRate);
  BandwidthLimit::Ticket first;
  ASSERT_TRUE(limit.Take(first, 1, kBegin));
  BandwidthLimit::Ticket second;
  while (limit.Take(second, kPiece, kBegin)) {
  }
  limit.Leave(first);
  EXPECT_THAT(limit.Admit(kBegin + milliseconds(1)), ElementsAre(&second));
  BandwidthLimit::Ticket third;
  while (limit.Take(third, kPiece, kBegin + milliseconds(1))) {
  }
  limit.Leave(third);
  EXPECT_FALSE(limit.NextAdmission()) << "nobody is left in line";
}

// ---- threads -----------------------------------------------------------------------------------

TEST(BandwidthGateTest, ThreadsGetNoMoreThanTheLimit) {
  BandwidthGate gate(kRate);
  std::atomic<std::uint64_t> taken = 0;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      BandwidthGate::Reader reader(gate);
      for (int piece = 0; piece < 16; ++piece) {
        ASSERT_TRUE(reader.Wait(kPiece, begin + seconds(60)));
        taken += kPiece;
      }
    });
  }
  threads.clear();
  const double elapsed = duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_EQ(taken, 64 * kPiece);
  EXPECT_LE(static_cast<double>(taken), static_cast<double>(kRate) * elapsed +
                                            static_cast<double>(BandwidthLimit(kRate).Burst()));
}

TEST(BandwidthGateTest, AWaitEndsWithItsDeadlineAndWithTheGate) {
  BandwidthGate gate(1 << 20);
  BandwidthGate::Reader reader(gate);
  const auto now = std::chrono::steady_clock::now();
  ASSERT_TRUE(reader.Wait(100 << 20, now + seconds(60)));
  const auto late = reader.Wait(1, now);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kDeadlineExceeded);
  EXPECT_THAT(late.error().message, HasSubstr("option \"bandwidth\""));
  std::jthread closing([&] { gate.Close(); });
  const auto closed = reader.Wait(1, now + seconds(60));
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace sluice::origin
