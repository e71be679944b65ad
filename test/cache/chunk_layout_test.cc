#include "chunk_layout.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace sluice::cache {
namespace {

constexpr std::uint64_t kChunkMiB = 1ULL << 20;

struct LayoutCase {
  const char* name;
  std::uint64_t object_size;
  std::uint64_t chunk;
  Range range;
};
void PrintTo(const LayoutCase& c, std::ostream* out) { *out << c.name; }

class ChunkLayoutTable : public ::testing::TestWithParam<LayoutCase> {};

TEST_P(ChunkLayoutTable, GivesTheRangeOfAChunk) {
  const LayoutCase& c = GetParam();
  const Range range = ChunkRange(c.object_size, c.chunk);
  EXPECT_EQ(range.begin, c.range.begin);
  EXPECT_EQ(range.end, c.range.end);
  EXPECT_EQ(ChunkOf(c.object_size, range.begin), c.chunk);
  EXPECT_EQ(ChunkOf(c.object_size, range.end - 1), c.chunk);
}

INSTANTIATE_TEST_SUITE_P(
    ChunkLayoutTest, ChunkLayoutTable,
    ::testing::Values(
        LayoutCase{"OneByte", 1, 0, {0, 1}},
        LayoutCase{"OneMebibyte", kChunkMiB, 0, {0, kChunkMiB}},
        LayoutCase{"AByteMore", kChunkMiB + 1, 1, {kChunkMiB, kChunkMiB + 1}},
        LayoutCase{"LastOfASmallOne", 64 * kChunkMiB - 1, 63, {63 * kChunkMiB, 64 * kChunkMiB - 1}},
        LayoutCase{"FirstOfALargeOne", 64 * kChunkMiB, 0, {0, 4 * kChunkMiB}},
        LayoutCase{"LastOfALargeOne", 65 * kChunkMiB, 16, {64 * kChunkMiB, 65 * kChunkMiB}},
        LayoutCase{"LastOfTheLargest",
                   64ULL << 40,
                   (16ULL << 20) - 1,
                   {(64ULL << 40) - 4 * kChunkMiB, 64ULL << 40}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ChunkLayoutTest, KeysAreThoseOfEveryOtherClient) {
  const ChunkOwner owner{"0b5e-uid", "https store/bucket/", "models/a.bin", "\"etag\"", 2ULL << 30};
  const std::string base = ChunkKeyBase(owner);
  EXPECT_EQ(base, "6yX0XqOH_sGnpzN_u0WQzw");
  EXPECT_EQ(ChunkKey(base, 0), base + ":0");
  EXPECT_EQ(ChunkKey(base, 511), base + ":1ff");
  EXPECT_EQ(PieceKey(base, 511), base + ":256k1ff");
  EXPECT_EQ(ChunkKeyBase({}), "VmHOwX0yCKXva0NP3wnntw");
}

TEST(ChunkLayoutTest, WhateverMakesOtherBytesMakesAnotherKey) {
  const ChunkOwner owner{"uid", "identity", "path", "version", 100};
  std::vector<ChunkOwner> others(6, owner);
  others[0].dataset_uid = "uie";
  others[1].identity = "identitz";
  others[2].path = "pati";
  others[3].version = "versioo";
  others[4].size = 101;
  others[5].dataset_uid = "uidi";  // the same texts, cut elsewhere
  others[5].identity = "dentity";
  for (const ChunkOwner& other : others) EXPECT_NE(ChunkKeyBase(owner), ChunkKeyBase(other));
  EXPECT_EQ(ChunkKeyBase(owner), ChunkKeyBase(ChunkOwner(owner)));
  EXPECT_EQ(ChunkKeyBase(owner).size(), 22U);
}

TEST(ChunkLayoutTest, OnlyLargePartsAndSequentialReadsWantTheWholeChunk) {
  const Range large{8 * kChunkMiB, 12 * kChunkMiB};
  const auto random = [](const Range& chunk, std::uint64_t begin, std::uint64_t size) {
    return WantsWholeChunk({chunk.begin + begin, chunk.begin + begin + size}, chunk,
                           Pattern::kRandom);
  };
  EXPECT_TRUE(random(large, 0, 4 * kChunkMiB));
  EXPECT_TRUE(random(large, 2 * kChunkMiB, 2 * kChunkMiB));
  EXPECT_FALSE(random(large, 2 * kChunkMiB, 2 * kChunkMiB - 1));
  EXPECT_FALSE(random(large, 0, kChunkMiB));
  EXPECT_TRUE(random({4 * kChunkMiB, 4 * kChunkMiB + 100}, 0, 100));
  EXPECT_TRUE(WantsWholeChunk({9 * kChunkMiB, 9 * kChunkMiB + 1000}, large, Pattern::kSequential));
}

}  // namespace
}  // namespace sluice::cache
