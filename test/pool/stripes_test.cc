#include "stripes.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace sluice::pool {
namespace {

std::string ChunkOf(int object, int chunk) { return fmt::format("object-{}z:{:x}", object, chunk); }

std::vector<int> SharesOf(const Stripes& stripes, std::size_t workers, int object, int chunks) {
  std::vector<int> shares(workers);
  for (int i = 0; i < chunks; ++i) ++shares[stripes.OwnerOf(PlaceOf(ChunkOf(object, i)))];
  return shares;
}

// Other builds place in the same way: these, made by another program, must never change.
TEST(StripesTest, PlacesAndOwnersAreAsTheyAlwaysWere) {
  struct Case {
    std::string key;
    std::uint64_t place;
    std::vector<std::size_t> owners;  // of 1, 2, 8 and 33 workers
  };
  const std::string object = "pT9v3kXq0aYw5Lr8ZbN2Cd";
  const std::vector<Case> cases = {
      {"a", 4706636184713914157, {0, 1, 1, 1}},
      {object + ":0", 6325343712037377435, {0, 1, 5, 19}},
      {object + ":1f", 7792354711306213600, {0, 1, 5, 17}},
      {object + ":256k3", 4186796894055536077, {0, 0, 2, 21}},
      {object + ":7", 110985395394693092, {0, 0, 0, 0}},
      {object + ":40000", 5420963052661446043, {0, 1, 1, 25}},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(PlaceOf(c.key), c.place) << c.key;
    std::vector<std::size_t> owners;
    for (const std::size_t workers : {1, 2, 8, 33}) {
      owners.push_back(Stripes(workers).OwnerOf(PlaceOf(c.key)));
    }
    EXPECT_EQ(owners, c.owners) << c.key;
  }
}

TEST(StripesTest, EveryoneHasTheSameShareOfTheCircle) {
  constexpr int kPlaces = 1 << 20;
  for (const std::size_t workers : {1, 2, 3, 256}) {
    const Stripes stripes(workers);
    std::vector<int> shares(workers);
    for (int i = 0; i < kPlaces; ++i) {
      ++shares[stripes.OwnerOf(kCircle / kPlaces * static_cast<std::uint64_t>(i))];
    }
    const int share = kPlaces / static_cast<int>(workers);
    for (const int n : shares) EXPECT_NEAR(n, share, share / 20 + 1) << workers;
    EXPECT_EQ(stripes.OwnerOf(0), 0U);
  }
}

TEST(StripesTest, AnyKeyHasAPlace) {
  for (const std::string key : {"", ":", "f", "12345678901234567", ":12345678901234567",
                                ":ffffffffffffffff", "object:", "\xff\xfe:1"}) {
    EXPECT_LT(PlaceOf(key), kCircle) << key;
  }
  EXPECT_NE(PlaceOf("x:1"), PlaceOf("x:2"));
  EXPECT_NE(PlaceOf("x:1"), PlaceOf("y:1"));
}

TEST(StripesTest, SharesTheChunksOfEachObjectEvenly) {
  constexpr int kChunks = 512;  // 2 GiB
  for (const std::size_t workers : {2, 4, 8}) {
    const Stripes stripes(workers);
    for (int object = 0; object < 50; ++object) {
      const auto shares = SharesOf(stripes, workers, object, kChunks);
      EXPECT_LE(*std::ranges::max_element(shares), 1.08 * kChunks / static_cast<double>(workers));
    }
  }
}

TEST(StripesTest, ChunksInARowLieOnDifferentWorkers) {
  constexpr std::size_t kWorkers = 8;
  const Stripes stripes(kWorkers);
  std::size_t sum = 0;
  for (int first = 0; first < 500; ++first) {
    std::set<std::size_t> owners;
    for (int i = 0; i < 16; ++i) owners.insert(stripes.OwnerOf(PlaceOf(ChunkOf(7, first + i))));
    EXPECT_GE(owners.size(), 6U) << first;
    sum += owners.size();
  }
  EXPECT_GT(sum, 500 * kWorkers * 97 / 100);
}

TEST(StripesTest, OneMoreWorkerTakesItsShareAndNothingElseMoves) {
  constexpr int kChunks = 10'000;
  for (std::size_t count = 1; count < 20; ++count) {
    const Stripes before(count);
    const Stripes after(count + 1);
    int moved = 0;
    for (int i = 0; i < kChunks; ++i) {
      const std::uint64_t place = PlaceOf(ChunkOf(1, i));
      if (before.OwnerOf(place) == after.OwnerOf(place)) continue;
      ++moved;
      EXPECT_EQ(after.OwnerOf(place), count) << i;
    }
    EXPECT_NEAR(moved, kChunks / static_cast<int>(count + 1), 40) << count;
  }
}

}  // namespace
}  // namespace sluice::pool
