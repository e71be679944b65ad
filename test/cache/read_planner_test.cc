#include "read_planner.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace sluice::cache {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;
constexpr std::uint64_t kMaxWindow = 64 * kMiB;

ReadPlanner::Options Object(std::uint64_t size) {
  ReadPlanner::Options options;
  options.object_size = size;
  return options;
}

// Takes everything that is wanted ahead now.
std::vector<Range> Drain(ReadPlanner& planner, std::uint64_t max_window = kMaxWindow) {
  std::vector<Range> ranges;
  while (const auto range = planner.NextAhead(max_window)) ranges.push_back(*range);
  return ranges;
}

std::uint64_t Sum(const std::vector<Range>& ranges) {
  std::uint64_t sum = 0;
  for (const Range& range : ranges) sum += range.Size();
  return sum;
}

struct Read {
  std::uint64_t offset;
  std::uint64_t size;
};

struct ReadCase {
  const char* name;
  std::uint64_t object_size;
  std::vector<Read> reads;
  // After the last read:
  Range fetch;
  bool sequential;
  std::uint64_t windows;
};
void PrintTo(const ReadCase& c, std::ostream* out) { *out << c.name; }

class ReadPlannerTable : public ::testing::TestWithParam<ReadCase> {};

TEST_P(ReadPlannerTable, AnswersTheLastRead) {
  const ReadCase& c = GetParam();
  ReadPlanner planner(Object(c.object_size));
  ReadPlanner::Access access;
  for (const Read& read : c.reads) {
    access = planner.OnRead(read.offset, read.size, kMaxWindow);
    planner.OnFetch(access.fetch);
  }
  EXPECT_EQ(access.fetch.begin, c.fetch.begin);
  EXPECT_EQ(access.fetch.end, c.fetch.end);
  EXPECT_EQ(access.sequential, c.sequential);
  EXPECT_EQ(planner.WindowBytes(), c.windows);
}

INSTANTIATE_TEST_SUITE_P(
    Reads, ReadPlannerTable,
    ::testing::Values(
        ReadCase{"BeginsWithOneMebibyte", kGiB, {{0, 128 * kKiB}}, {0, kMiB}, true, kMiB},
        ReadCase{"SmallObjectAtOnce", 3 * kMiB, {{0, 4 * kKiB}}, {0, 3 * kMiB}, true, kMiB},
        ReadCase{"TinyObject", 10, {{0, 10}}, {0, 10}, true, kMiB},
        ReadCase{"LoneReadIsRandom",
                 kGiB,
                 {{500 * kMiB + 5, 4 * kKiB}},
                 {500 * kMiB, 500 * kMiB + 256 * kKiB},
                 false,
                 0},
        ReadCase{"RandomReadOverABoundary",
                 kGiB,
                 {{500 * kMiB - 5, 10}},
                 {500 * kMiB - 256 * kKiB, 500 * kMiB + 256 * kKiB},
                 false,
                 0},
        ReadCase{"SecondReadMakesAStream",
                 kGiB,
                 {{500 * kMiB, 64 * kKiB}, {500 * kMiB + 64 * kKiB, 64 * kKiB}},
                 {500 * kMiB, 501 * kMiB},
                 true,
                 kMiB},
        ReadCase{"FetchEndsAtTheObjectsEnd",
                 5 * kMiB + 7,
                 {{5 * kMiB, 3}, {5 * kMiB + 3, 4}},
                 {5 * kMiB, 5 * kMiB + 7},
                 true,
                 kMiB},
        ReadCase{"WindowDoublesAsItIsConsumed",
                 kGiB,
                 {{0, 128 * kKiB}, {128 * kKiB, 256 * kKiB}},
                 {0, 2 * kMiB + 256 * kKiB},
                 true,
                 2 * kMiB},
        ReadCase{"JumpAheadWithinTheToleranceHalves",
                 kGiB,
                 {{0, kMiB}, {kMiB, kMiB}, {2 * kMiB, kMiB}, {10 * kMiB, 256 * kKiB}},
                 {10 * kMiB, 12 * kMiB},
                 true,
                 2 * kMiB},
        ReadCase{"JumpsOfALoneReaderStayRandom",
                 kGiB,
                 {{100 * kMiB, 4096}, {110 * kMiB, 4096}, {120 * kMiB, 4096}},
                 {120 * kMiB, 120 * kMiB + 256 * kKiB},
                 false,
                 0},
        ReadCase{"ReadOneMebibyteBackIsTheSameStream",
                 kGiB,
                 {{0, 4 * kMiB}, {4 * kMiB, kMiB}, {4 * kMiB + 256 * kKiB, 128 * kKiB}},
                 {4 * kMiB + 256 * kKiB, 7 * kMiB},
                 true,
                 2 * kMiB}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ReadPlannerTest, SequentialReaderReachesTheLargestWindowWithinIt) {
  ReadPlanner planner(Object(kGiB));
  std::uint64_t at = 0;
  while (planner.WindowBytes() < kMaxWindow && at < kGiB) {
    planner.OnRead(at, 128 * kKiB, kMaxWindow);
    at += 128 * kKiB;
  }
  EXPECT_LE(at, kMaxWindow / 2);
  for (int i = 0; i < 1000; ++i) {
    planner.OnRead(at, 128 * kKiB, kMaxWindow);
    at += 128 * kKiB;
  }
  EXPECT_EQ(planner.WindowBytes(), kMaxWindow);
}

TEST(ReadPlannerTest, LargeWindowIsHandedOutInWholeRanges) {
  ReadPlanner planner(Object(kGiB));
  std::vector<Range> late;
  for (std::uint64_t at = 0; at < 256 * kMiB; at += 128 * kKiB) {
    planner.OnRead(at, 128 * kKiB, kMaxWindow);
    for (const Range& range : Drain(planner)) {
      if (at > 128 * kMiB) late.push_back(range);
    }
  }
  ASSERT_FALSE(late.empty());
  for (const Range& range : late) {
    EXPECT_EQ(range.Size(), 4 * kMiB);
    EXPECT_EQ(range.begin % (4 * kMiB), 0U);
  }
}

TEST(ReadPlannerTest, InterleavedStreamsAreEachSequential) {
  ReadPlanner planner(Object(4 * kGiB));
  constexpr std::uint64_t kStreams = 8;
  for (std::uint64_t step = 0; step < 64; ++step) {
    for (std::uint64_t s = 0; s < kStreams; ++s) {
      const auto access =
          planner.OnRead(s * 512 * kMiB + step * 128 * kKiB, 128 * kKiB, kMaxWindow);
      if (step > 0) {
        EXPECT_TRUE(access.sequential);
      }
    }
  }
  EXPECT_EQ(planner.StreamCount(), kStreams);
  EXPECT_GE(planner.WindowBytes(), kStreams * 8 * kMiB);
}

TEST(ReadPlannerTest, SharedDescriptorOfManyWorkersDoesNotLookRandom) {
  // The kernel hands over read-ahead of one stream in any order.
  ReadPlanner planner(Object(kGiB));
  std::vector<std::uint64_t> order;
  for (std::uint64_t at = 0; at < 64 * kMiB; at += 128 * kKiB) order.push_back(at);
  std::minstd_rand random(7);
  for (std::size_t i = 0; i + 8 <= order.size(); i += 8) {
    std::shuffle(order.begin() + static_cast<std::ptrdiff_t>(i),
                 order.begin() + static_cast<std::ptrdiff_t>(i + 8), random);
  }
  for (const std::uint64_t at : order) planner.OnRead(at, 128 * kKiB, kMaxWindow);
  EXPECT_EQ(planner.StreamCount(), 1U);
  EXPECT_GE(planner.WindowBytes(), 32 * kMiB);
}

TEST(ReadPlannerTest, SeekHalvesTheWindowAndDropsTheOldRanges) {
  ReadPlanner planner(Object(8 * kGiB));
  for (std::uint64_t at = 0; at < 256 * kMiB; at += kMiB) planner.OnRead(at, kMiB, kMaxWindow);
  EXPECT_EQ(planner.WindowBytes(), kMaxWindow);
  EXPECT_TRUE(planner.Wants({260 * kMiB, 264 * kMiB}));
  EXPECT_TRUE(planner.OnRead(4 * kGiB, kMiB, kMaxWindow).seek);
  EXPECT_TRUE(planner.OnRead(4 * kGiB + kMiB, 128 * kKiB, kMaxWindow).sequential);
  EXPECT_EQ(planner.WindowBytes(), kMaxWindow + kMaxWindow / 2);
}

TEST(ReadPlannerTest, PressureHalvesDownToTheFirstWindow) {
  ReadPlanner planner(Object(kGiB));
  for (std::uint64_t at = 0; at < 64 * kMiB; at += kMiB) planner.OnRead(at, kMiB, kMaxWindow);
  const std::uint64_t before = planner.WindowBytes();
  planner.OnPressure();
  EXPECT_EQ(planner.WindowBytes(), before / 2);
  for (int i = 0; i < 20; ++i) planner.OnPressure();
  EXPECT_EQ(planner.WindowBytes(), kMiB);
}

struct WholeCase {
  const char* name;
  std::uint64_t object_size;
  std::uint64_t read_bytes;  // from the beginning, in sequence
  bool whole;
};
void PrintTo(const WholeCase& c, std::ostream* out) { *out << c.name; }

class WholeObjectTable : public ::testing::TestWithParam<WholeCase> {};

TEST_P(WholeObjectTable, LooksLikeALoad) {
  ReadPlanner planner(Object(GetParam().object_size));
  for (std::uint64_t at = 0; at < GetParam().read_bytes; at += kMiB) {
    planner.OnRead(at, std::min(kMiB, GetParam().read_bytes - at), kMaxWindow);
  }
  EXPECT_EQ(planner.WantsWholeObject(), GetParam().whole);
}

INSTANTIATE_TEST_SUITE_P(
    Objects, WholeObjectTable,
    ::testing::Values(WholeCase{"NothingRead", kGiB, 0, false},
                      WholeCase{"SmallObject", 4 * kMiB, 1, true},
                      WholeCase{"HeaderOnly", kGiB, 2 * kMiB, false},
                      WholeCase{"HalfOfAMiddlingObject", 20 * kMiB, 10 * kMiB, true},
                      WholeCase{"LessOfAMiddlingObject", 20 * kMiB, 9 * kMiB, false},
                      WholeCase{"EighthOfTwoGibibytes", 2 * kGiB, 256 * kMiB, true},
                      WholeCase{"LittleOfALargeObject", 64 * kGiB, 128 * kMiB, false},
                      WholeCase{"QuarterGibibyteOfALargeObject", 64 * kGiB, 256 * kMiB, true}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ReadPlannerTest, RandomReadsOfALargeObjectNeverFetchAhead) {
  ReadPlanner planner(Object(64 * kGiB));
  std::mt19937_64 random(1);
  std::uint64_t fetched = 0;
  std::uint64_t ahead = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t offset = random() % (64 * kGiB - kMiB) / 4096 * 4096;
    const auto access = planner.OnRead(offset, 64 * kKiB, kMaxWindow);
    fetched += access.fetch.Size();
    ahead += Sum(Drain(planner));
  }
  EXPECT_LE(fetched, 1000 * 512 * kKiB);
  EXPECT_LE(ahead, 4 * kMiB);
  EXPECT_FALSE(planner.WantsWholeObject());
}

RC_GTEST_PROP(ReadPlannerProperty, RangesAreSoundWhateverIsRead, ()) {
  const auto size = *rc::gen::inRange<std::uint64_t>(1, 300 * kMiB);
  const auto max_window = *rc::gen::inRange<std::uint64_t>(kMiB, 128 * kMiB);
  ReadPlanner planner(Object(size));
  std::uint64_t next = 0;
  const auto steps = *rc::gen::inRange(1, 100);
  for (int i = 0; i < steps; ++i) {
    const bool jump = *rc::gen::inRange(0, 4) == 0;
    const std::uint64_t offset =
        jump || next >= size ? *rc::gen::inRange<std::uint64_t>(0, size) : next;
    const std::uint64_t length =
        std::min(size - offset, *rc::gen::inRange<std::uint64_t>(1, 4 * kMiB));
    const auto access = planner.OnRead(offset, length, max_window);
    next = offset + length;
    RC_ASSERT(access.fetch.begin <= offset);
    RC_ASSERT(access.fetch.end >= next);
    RC_ASSERT(access.fetch.end <= size);
    RC_ASSERT(access.fetch.begin % kBlockBytes == 0);
    RC_ASSERT(access.fetch.end % kBlockBytes == 0 || access.fetch.end == size);
    planner.OnFetch(access.fetch);
    if (*rc::gen::inRange(0, 10) == 0) planner.OnPressure();
    std::uint64_t ahead = 0;
    while (const auto range = planner.NextAhead(max_window)) {
      RC_ASSERT(range->begin < range->end);
      RC_ASSERT(range->end <= size);
      RC_ASSERT(range->begin % kBlockBytes == 0);
      RC_ASSERT(range->end % kBlockBytes == 0 || range->end == size);
      RC_ASSERT(range->Size() <= 4 * kMiB);
      RC_ASSERT(planner.Wants(*range));
      ahead += range->Size();
    }
    RC_ASSERT(ahead <= planner.StreamCount() * (max_window + kBlockBytes));
    RC_ASSERT(planner.StreamCount() <= 16U);
  }
}

RC_GTEST_PROP(ReadPlannerProperty, SequentialReaderIsNeverHandedARangeTwice, ()) {
  const auto size = *rc::gen::inRange<std::uint64_t>(kMiB, 200 * kMiB);
  const auto step = *rc::gen::inRange<std::uint64_t>(4 * kKiB, 4 * kMiB);
  ReadPlanner planner(Object(size));
  std::uint64_t fetched_to = 0;
  for (std::uint64_t at = 0; at < size; at += step) {
    const auto access = planner.OnRead(at, std::min(step, size - at), kMaxWindow);
    if (access.fetch.end > fetched_to && at + step > fetched_to) {  // a miss
      planner.OnFetch(access.fetch);
      fetched_to = access.fetch.end;
    }
    while (const auto range = planner.NextAhead(kMaxWindow)) {
      RC_ASSERT(range->begin == fetched_to);
      fetched_to = range->end;
    }
  }
  RC_ASSERT(fetched_to == size);
}

}  // namespace
}  // namespace sluice::cache
