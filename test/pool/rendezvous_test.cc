#include "rendezvous.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "workers_and_chunks.h"

namespace sluice::pool {
namespace {

constexpr int kKeys = 10'000;

TEST(RendezvousTest, FirstIsTheFirstOfTheOrder) {
  const Rendezvous order(Workers(7));
  for (int i = 0; i < 1'000; ++i) {
    const auto all = order.Order(Chunk(i));
    EXPECT_EQ(order.First(Chunk(i)), all.front());
    auto sorted = all;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(sorted, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6}));
  }
}

// Other builds place by the same hash: these orders, made by another program, must never change.
TEST(RendezvousTest, OrdersAreAsTheyAlwaysWere) {
  struct Case {
    std::string key;
    std::vector<std::size_t> order;
  };
  const std::vector<Case> cases = {
      {"a", {4, 3, 1, 2, 0}},
      {"pT9v3kXq0aYw5Lr8ZbN2Cd:0", {1, 4, 2, 0, 3}},
      {"pT9v3kXq0aYw5Lr8ZbN2Cd:1f", {3, 0, 2, 4, 1}},
  };
  const Rendezvous order(Workers(5));
  for (const Case& c : cases) EXPECT_EQ(order.Order(c.key), c.order) << c.key;
}

TEST(RendezvousTest, DoesNotDependOnTheOrderOfTheList) {
  const auto names = Workers(9);
  auto reversed = names;
  std::reverse(reversed.begin(), reversed.end());
  const Rendezvous a(names);
  const Rendezvous b(reversed);
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(names[a.First(Chunk(i))], reversed[b.First(Chunk(i))]);
}

TEST(RendezvousTest, SharesKeysEvenly) {
  for (const int count : {2, 5, 16}) {
    const Rendezvous order(Workers(count));
    std::map<std::size_t, int> shares;
    for (int i = 0; i < kKeys; ++i) ++shares[order.First(Chunk(i))];
    for (const auto& [worker, share] : shares) {
      EXPECT_NEAR(share, kKeys / count, 0.15 * kKeys / count) << worker << " of " << count;
    }
  }
}

TEST(RendezvousTest, OneMoreWorkerTakesItsShareAndNothingElseMoves) {
  for (const int count : {1, 4, 10}) {
    const Rendezvous before(Workers(count));
    const Rendezvous after(Workers(count + 1));
    int moved = 0;
    for (int i = 0; i < kKeys; ++i) {
      const std::size_t then = before.First(Chunk(i));
      const std::size_t now = after.First(Chunk(i));
      if (then == now) continue;
      ++moved;
      EXPECT_EQ(now, static_cast<std::size_t>(count)) << Chunk(i);
    }
    EXPECT_GT(moved, 0);
    EXPECT_LT(moved, kKeys / (count + 1) * 115 / 100) << count;
  }
}

TEST(RendezvousTest, OneWorkerLessMovesOnlyItsKeysEachToItsSecond) {
  const auto names = Workers(8);
  auto fewer = names;
  fewer.erase(fewer.begin() + 3);
  const Rendezvous before(names);
  const Rendezvous after(fewer);
  int moved = 0;
  for (int i = 0; i < kKeys; ++i) {
    const auto order = before.Order(Chunk(i));
    const std::string& now = fewer[after.First(Chunk(i))];
    if (order[0] != 3) {
      EXPECT_EQ(now, names[order[0]]);
      continue;
    }
    ++moved;
    EXPECT_EQ(now, names[order[1]]);
  }
  EXPECT_LT(moved, kKeys / 8 * 115 / 100);
}

}  // namespace
}  // namespace sluice::pool
