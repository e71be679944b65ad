// What every ChunkPool does; run against the fake and against a real memcached.
#pragma once

#include <functional>

#include <gtest/gtest.h>

#include "pool_calls.h"

namespace sluice::test {

// `end_leases` returns once leases taken before are over.
inline void CheckChunkPool(ChunkPool& pool, const std::function<void()>& end_leases) {
  using Kind = PoolAnswer::Kind;
  using OnMiss = ChunkPool::OnMiss;
  const Bytes value = MakeBytes(100'000, 1);
  Bytes into(value.size());
  const auto get = [&](const std::string& key, OnMiss on_miss) {
    auto answer = Get(pool, key, into, on_miss);
    EXPECT_TRUE(answer) << key << ": " << (answer ? "" : answer.error().message);
    return answer.value_or(PoolAnswer{});
  };

  // Absent.
  EXPECT_EQ(get("absent", OnMiss::kReport).kind, Kind::kMiss);
  EXPECT_EQ(get("absent", OnMiss::kReport).kind, Kind::kMiss) << "asking left something behind";

  // One fills, the others wait, then all hit.
  const PoolAnswer fill = get("a", OnMiss::kLease);
  EXPECT_EQ(fill.kind, Kind::kFill);
  EXPECT_NE(fill.lease, 0U);
  EXPECT_EQ(get("a", OnMiss::kLease).kind, Kind::kWait);
  EXPECT_EQ(get("a", OnMiss::kReport).kind, Kind::kWait);
  EXPECT_TRUE(Put(pool, "a", fill.lease, value, 0xfffffffeU));
  const PoolAnswer hit = get("a", OnMiss::kLease);
  EXPECT_EQ(hit.kind, Kind::kHit);
  EXPECT_EQ(hit.checksum, 0xfffffffeU);
  EXPECT_EQ(into, value);

  // A lease that is not the caller's stores nothing, and is no error.
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kFill);
  EXPECT_TRUE(Put(pool, "b", fill.lease, value, 1));
  EXPECT_TRUE(Put(pool, "b", 0, value, 1));
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kWait);
  EXPECT_TRUE(Put(pool, "never-leased", fill.lease, value, 1));
  EXPECT_EQ(get("never-leased", OnMiss::kReport).kind, Kind::kMiss);

  // A lease given back is another's at once; one that ended is too, and its Put stores nothing.
  pool.Drop("b");
  const PoolAnswer second = get("b", OnMiss::kLease);
  EXPECT_EQ(second.kind, Kind::kFill);
  end_leases();
  const PoolAnswer third = get("b", OnMiss::kLease);
  EXPECT_EQ(third.kind, Kind::kFill);
  EXPECT_TRUE(Put(pool, "b", second.lease, value, 1));
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kWait);
  EXPECT_TRUE(Put(pool, "b", third.lease, value, 1));
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kHit);

  // Dropped values and values of another size are gone.
  pool.Drop("a");
  EXPECT_EQ(get("a", OnMiss::kReport).kind, Kind::kMiss);
  Bytes longer(value.size() + 1);
  EXPECT_EQ(KindOf(Get(pool, "b", longer, OnMiss::kReport)), Kind::kMiss);
  EXPECT_EQ(get("b", OnMiss::kReport).kind, Kind::kMiss);
}

}  // namespace sluice::test
