#include "index_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::fuse_client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBudget = 256 * kMiB;

IndexNeed Need(std::uint64_t mebibytes) {
  return {.listing_bytes = mebibytes * kMiB / 3,
          .index_bytes = mebibytes * kMiB / 3,
          .objects = 1'000'000};
}

TEST(IndexMemoryTest, OrdinaryDatasetCostsTheBuffersNothing) {
  IndexMemory memory(kBudget);
  ASSERT_TRUE(memory.Admit(Need(50)));
  EXPECT_EQ(memory.SetAside(Need(50)), kBudget);
  EXPECT_TRUE(memory.Admit(Need(64)));
  EXPECT_FALSE(memory.Admit(Need(66))) << "the buffers have the rest";
  EXPECT_EQ(memory.ListingLimit(), 32 * kMiB) << "and a listing is stopped while it arrives";
}

TEST(IndexMemoryTest, LargeDatasetTakesFromTheBuffersAndMayGrowSome) {
  IndexMemory memory(kBudget);
  ASSERT_TRUE(memory.Admit(Need(120)));
  const std::uint64_t buffers = memory.SetAside(Need(120));
  EXPECT_NEAR(static_cast<double>(buffers), (256 + 64 - 150) * kMiB, kMiB);
  EXPECT_TRUE(memory.Admit(Need(149)));
  EXPECT_FALSE(memory.Admit(Need(151)));
}

TEST(IndexMemoryTest, BuffersKeepAQuarterHoweverLargeTheDatasetIs) {
  IndexMemory memory(kBudget);
  EXPECT_EQ(memory.SetAside(Need(204)), kBudget + kBudget / 4 - (204 + 51) * kMiB);
  EXPECT_EQ(memory.SetAside(Need(4000)), kBudget / 4) << "found in the state of a predecessor";
}

TEST(IndexMemoryTest, TooLargeADatasetIsRefusedWithTheRemedy) {
  const IndexMemory memory(kBudget);
  EXPECT_TRUE(memory.Admit(Need(204)));
  const Status refused = memory.Admit(Need(459));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_THAT(
      refused.error().message,
      AllOf(HasSubstr("1000000 objects need 459 MiB"), HasSubstr("205 MiB may be used"),
            HasSubstr("from 256 to 574 MiB"), HasSubstr("memory-budget"), HasSubstr("--memory")));
  EXPECT_TRUE(IndexMemory(574 * kMiB).Admit(Need(459))) << "the remedy is enough";
}

TEST(IndexMemoryTest, DatasetThatOnlyARestartMakesRoomForIsToldSo) {
  IndexMemory memory(kBudget);
  memory.SetAside(Need(20));
  const Status refused = memory.Admit(Need(150));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("restart the client"));
}

TEST(IndexMemoryTest, ListingMayTakeWhatItsIndexThenLeavesRoomFor) {
  // A million objects of usual lengths (docs/fuse-state.md).
  const IndexNeed need = {
      .listing_bytes = 189'000'000, .index_bytes = 131'000'000, .objects = 1'000'000};
  const IndexMemory memory(540 * kMiB);
  EXPECT_TRUE(memory.Admit(need));
  EXPECT_GE(memory.ListingLimit(), need.listing_bytes);
  EXPECT_FALSE(IndexMemory(500 * kMiB).Admit(need));
}

}  // namespace
}  // namespace sluice::fuse_client
