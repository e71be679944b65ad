#include "placement.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "workers_and_chunks.h"

namespace sluice::pool {
namespace {

constexpr int kChunks = 5'000;

std::vector<std::string> Without(std::vector<std::string> names, const std::string& name) {
  std::erase(names, name);
  return names;
}

// The names of the workers that keep the key, in order.
std::vector<std::string> Order(const std::vector<std::string>& names, const std::string& key) {
  const Placement placement(names);
  std::vector<std::string> order;
  for (const std::size_t index : placement.Order(key)) order.push_back(names[index]);
  EXPECT_EQ(order.front(), names[placement.First(key)]);
  return order;
}

// Other builds place in the same way: these orders, made by another program, must never change.
TEST(PlacementTest, OrdersAreAsTheyAlwaysWere) {
  const std::string object = "pT9v3kXq0aYw5Lr8ZbN2Cd";
  const std::vector<std::pair<std::string, std::vector<std::size_t>>> cases = {
      {"a", {1, 4, 3, 2, 0}},
      {object + ":0", {1, 4, 2, 0, 3}},
      {object + ":1f", {2, 3, 0, 4, 1}},
      {object + ":256k3", {2, 1, 4, 3, 0}},
      {object + ":7", {0, 3, 1, 4, 2}},
      {object + ":40000", {1, 4, 3, 2, 0}},
  };
  const Placement placement(Workers(5));
  for (const auto& [key, order] : cases) {
    EXPECT_EQ(placement.Order(key), order) << key;
    EXPECT_EQ(placement.First(key), order.front()) << key;
  }
}

TEST(PlacementTest, DoesNotDependOnTheOrderOfTheList) {
  const auto names = Workers(9);
  auto reversed = names;
  std::ranges::reverse(reversed);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Order(names, Chunk(i)), Order(reversed, Chunk(i)));
}

TEST(PlacementTest, EveryOrderHasEveryWorkerOnce) {
  for (const auto& names : {Workers(1), Workers(7), Without(Workers(7), "ds-worker-5"),
                            std::vector<std::string>{"a", "b", "c"}}) {
    for (int i = 0; i < 200; ++i) {
      auto order = Order(names, Chunk(i));
      std::ranges::sort(order);
      EXPECT_EQ(order, names);
    }
  }
}

TEST(PlacementTest, AWorkerThatLeavesMovesOnlyItsKeysEachToItsSecond) {
  const auto names = Workers(8);
  for (const std::string gone : {"ds-worker-0", "ds-worker-3", "ds-worker-7"}) {
    const auto fewer = Without(names, gone);
    int moved = 0;
    for (int i = 0; i < kChunks; ++i) {
      const auto before = Order(names, Chunk(i));
      const bool its = before[0] == gone;
      EXPECT_EQ(Order(fewer, Chunk(i))[0], its ? before[1] : before[0]) << Chunk(i);
      moved += its ? 1 : 0;
    }
    EXPECT_NEAR(moved, kChunks / 8, 20) << gone;
  }
}

TEST(PlacementTest, SharesEvenlyWhereNumberedAndByRendezvousElsewhere) {
  const Rendezvous rendezvous({"a-0", "b-1", "c-2"});
  const Placement placement({"a-0", "b-1", "c-2"});
  const Placement unnumbered({"x", "y-01", "z-"});
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(placement.Order(Chunk(i)), rendezvous.Order(Chunk(i)));
    EXPECT_EQ(unnumbered.Order(Chunk(i)), Rendezvous({"x", "y-01", "z-"}).Order(Chunk(i)));
  }
  const Placement numbered(Workers(4));
  std::vector<int> shares(4);
  for (int i = 0; i < kChunks; ++i) ++shares[numbered.First(Chunk(i))];
  for (const int share : shares) EXPECT_NEAR(share, kChunks / 4, 15);
}

TEST(PlacementTest, WhileOneIsMissingOnlyItsKeysAndThoseOfTheLastMove) {
  const auto names = Without(Workers(8), "ds-worker-3");
  const auto fewer = Without(names, "ds-worker-7");
  const Stripes stripes(8);
  for (int i = 0; i < kChunks; ++i) {
    const std::string before = Order(names, Chunk(i))[0];
    const bool missing = stripes.OwnerOf(PlaceOf(Chunk(i))) == 3;
    if (missing || before == "ds-worker-7") continue;
    EXPECT_EQ(Order(fewer, Chunk(i))[0], before) << i;
  }
}

TEST(PlacementTest, TakesNumbersThatAreFarApart) {
  const std::vector<std::string> names = {"ip-10", "ip-255", "ip-77"};
  const Placement placement(names);
  const Stripes stripes(256);
  int direct = 0;
  for (int i = 0; i < kChunks; ++i) {
    const std::size_t first = placement.First(Chunk(i));
    const std::string its = fmt::format("ip-{}", stripes.OwnerOf(PlaceOf(Chunk(i))));
    const auto found = std::ranges::find(names, its);
    const bool there = found != names.end();
    direct += there ? 1 : 0;
    EXPECT_EQ(names[first], there ? its : names[Rendezvous(names).First(Chunk(i))]);
  }
  EXPECT_GT(direct, 0);
}

TEST(PlacementTest, GoesByRendezvousWhereANumberIsTooHigh) {
  const std::vector<std::string> beyond = {"ip-10", "ip-256", "ip-99999999999999999999"};
  const Placement placement(beyond);
  const Rendezvous rendezvous(beyond);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(placement.Order(Chunk(i)), rendezvous.Order(Chunk(i)));
  }
}

}  // namespace
}  // namespace sluice::pool
