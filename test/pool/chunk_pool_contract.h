// What every ChunkPool does; run against the fake and against a real memcached.
#pragma once

#include <functional>
#include <optional>

#include <gtest/gtest.h>

#include "pool_calls.h"

namespace sluice::test {

template <typename T>
std::optional<Code> CodeOf(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error().code;
}

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
  EXPECT_NE(fill.lease.number, 0U);
  EXPECT_EQ(get("a", OnMiss::kLease).kind, Kind::kWait);
  EXPECT_EQ(get("a", OnMiss::kReport).kind, Kind::kWait);
  EXPECT_TRUE(Put(pool, "a", fill.lease, value, 0xfffffffeU));
  const PoolAnswer hit = get("a", OnMiss::kLease);
  EXPECT_EQ(hit.kind, Kind::kHit);
  EXPECT_EQ(hit.checksum, 0xfffffffeU);
  EXPECT_EQ(into, value);

  // A lease that is not the caller's stores, prolongs and drops nothing, and is no error.
  const PoolAnswer first = get("b", OnMiss::kLease);
  EXPECT_EQ(first.kind, Kind::kFill);
  EXPECT_TRUE(Put(pool, "b", fill.lease, value, 1));
  EXPECT_TRUE(Put(pool, "b", {}, value, 1));
  EXPECT_EQ(CodeOf(Renew(pool, "b", fill.lease)), Code::kNotFound);
  EXPECT_TRUE(Drop(pool, "b", fill.lease));
  EXPECT_TRUE(Drop(pool, "b", {}));
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kWait);

  // A lease given back is another's at once. So is one that ended, which is of no use any more
  // while another has it; but where nobody has, the value is stored.
  EXPECT_TRUE(Drop(pool, "b", first.lease));
  const PoolAnswer second = get("b", OnMiss::kLease);
  EXPECT_EQ(second.kind, Kind::kFill);
  const PoolAnswer late = get("late", OnMiss::kLease);
  end_leases();
  EXPECT_EQ(CodeOf(Renew(pool, "late", late.lease)), Code::kNotFound);
  EXPECT_TRUE(Put(pool, "late", late.lease, value, 1));
  EXPECT_EQ(get("late", OnMiss::kReport).kind, Kind::kHit);
  const PoolAnswer third = get("b", OnMiss::kLease);
  EXPECT_EQ(third.kind, Kind::kFill);
  EXPECT_TRUE(Put(pool, "b", second.lease, value, 1));
  EXPECT_EQ(CodeOf(Renew(pool, "b", second.lease)), Code::kNotFound);
  EXPECT_TRUE(Drop(pool, "b", second.lease));
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kWait);

  // Renewed, it is as good as new, under another number.
  const auto renewed = Renew(pool, "b", third.lease);
  ASSERT_TRUE(renewed) << renewed.error().message;
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kWait);
  EXPECT_TRUE(Put(pool, "b", third.lease, value, 1));
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kWait);
  EXPECT_TRUE(Put(pool, "b", *renewed, value, 1));
  EXPECT_EQ(get("b", OnMiss::kLease).kind, Kind::kHit);

  // A value is dropped by its own version only.
  EXPECT_TRUE(Drop(pool, "b", *renewed));
  EXPECT_EQ(get("b", OnMiss::kReport).kind, Kind::kHit);
  EXPECT_TRUE(Drop(pool, "a", hit.value));
  EXPECT_EQ(get("a", OnMiss::kReport).kind, Kind::kMiss);
  const PoolAnswer again = get("a", OnMiss::kLease);
  EXPECT_EQ(again.kind, Kind::kFill);
  EXPECT_TRUE(Drop(pool, "a", hit.value));
  EXPECT_EQ(get("a", OnMiss::kLease).kind, Kind::kWait) << "another client's lease was dropped";

  // Values of another size are gone.
  Bytes longer(value.size() + 1);
  EXPECT_EQ(KindOf(Get(pool, "b", longer, OnMiss::kReport)), Kind::kMiss);
  EXPECT_EQ(get("b", OnMiss::kReport).kind, Kind::kMiss);
}

}  // namespace sluice::test
