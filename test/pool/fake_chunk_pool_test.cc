#include "fake_chunk_pool.h"

#include <gtest/gtest.h>

#include "chunk_pool_contract.h"
#include "manual_clock.h"

namespace sluice::test {
namespace {

using OnMiss = ChunkPool::OnMiss;

TEST(FakeChunkPoolTest, KeepsThePortsContract) {
  ManualClock clock;
  FakeChunkPool pool(clock);
  CheckChunkPool(pool, [&] { clock.Advance(std::chrono::seconds(11)); });
}

TEST(FakeChunkPoolTest, FailsAsScriptedAndWhenDown) {
  ManualClock clock;
  FakeChunkPool pool(clock);
  Bytes into(4);
  pool.SetScript([](const FakeChunkPool::Call& call) -> std::optional<Error> {
    if (call.key != "bad") return std::nullopt;
    return Error{Code::kDeadlineExceeded, "scripted"};
  });
  EXPECT_EQ(Get(pool, "bad", into, OnMiss::kReport).error().code, Code::kDeadlineExceeded);
  EXPECT_TRUE(Get(pool, "good", into, OnMiss::kReport));
  pool.SetDown(true);
  EXPECT_EQ(Get(pool, "good", into, OnMiss::kReport).error().code, Code::kUnavailable);
  EXPECT_EQ(Put(pool, "good", {1}, into, 0).error().code, Code::kUnavailable);
}

TEST(FakeChunkPoolTest, HoldsAnswersUntilTheyAreReleased) {
  ManualClock clock;
  FakeChunkPool pool(clock);
  Bytes into(4);
  int answers = 0;
  pool.Hold();
  for (int i = 0; i < 3; ++i) {
    pool.Get("a", into, OnMiss::kLease, [&](const Result<PoolAnswer>&) { ++answers; });
  }
  EXPECT_EQ(answers, 0);
  EXPECT_EQ(pool.Held(), 3U);
  EXPECT_TRUE(pool.ReleaseOne());
  EXPECT_EQ(answers, 1);
  pool.Release();
  EXPECT_EQ(answers, 3);
  EXPECT_EQ(pool.Count(FakeChunkPool::Call::Kind::kGet), 3U);
}

TEST(FakeChunkPoolTest, SpoilsAndEvicts) {
  ManualClock clock;
  FakeChunkPool pool(clock);
  const Bytes value = MakeBytes(16, 1);
  Bytes into(16);
  pool.Store("a", value, 7);
  EXPECT_TRUE(pool.Spoil("a"));
  EXPECT_EQ(KindOf(Get(pool, "a", into, OnMiss::kReport)), PoolAnswer::Kind::kHit);
  EXPECT_NE(into, value);
  pool.Evict("a");
  EXPECT_FALSE(pool.Spoil("a"));
  EXPECT_EQ(pool.ValueOf("a"), std::nullopt);
}

}  // namespace
}  // namespace sluice::test
