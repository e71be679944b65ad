#include "write_behind.h"

#include <gtest/gtest.h>

#include "sluice/cache/reader.h"

namespace sluice::cache {
namespace {

constexpr std::uint64_t kMebibyte = 1 << 20;

WriteBehind::File AFile() { return std::make_shared<const platform::UniqueFd>(); }

TEST(WriteBehindTest, WriteBackBeginsAsItGoes) {
  WriteBehind unsynced(64 * kMebibyte);
  const auto file = AFile();
  unsigned begun = 0;
  for (int i = 0; i < 24; ++i) begun += unsynced.OnWritten("a", file, kMebibyte) ? 1 : 0;
  EXPECT_EQ(begun, 3U);
  EXPECT_EQ(unsynced.Unsynced(), 24 * kMebibyte) << "begun is not done";
  EXPECT_EQ(unsynced.TakeOverdue(), nullptr);
}

TEST(WriteBehindTest, WhatIsOverTheBoundIsWaitedForLargestFirst) {
  WriteBehind unsynced(64 * kMebibyte);
  const auto small = AFile();
  const auto large = AFile();
  unsynced.OnWritten("small", small, 20 * kMebibyte);
  unsynced.OnWritten("large", large, 44 * kMebibyte);
  ASSERT_EQ(unsynced.TakeOverdue(), nullptr);
  unsynced.OnWritten("small", small, kMebibyte);
  EXPECT_EQ(unsynced.TakeOverdue(), large);
  EXPECT_EQ(unsynced.Unsynced(), 21 * kMebibyte);
  EXPECT_EQ(unsynced.TakeOverdue(), nullptr);
}

TEST(WriteBehindTest, OneWriteOverTheBoundIsWaitedFor) {
  WriteBehind unsynced(16 * kMebibyte);
  const auto file = AFile();
  unsynced.OnWritten("a", file, 17 * kMebibyte);
  EXPECT_EQ(unsynced.TakeOverdue(), file);
  EXPECT_EQ(unsynced.Unsynced(), 0U);
}

TEST(WriteBehindTest, FewFilesAreKeptOpen) {
  WriteBehind unsynced(64 * kMebibyte);
  std::vector<WriteBehind::File> files;
  for (int i = 0; i < 1000; ++i) {
    files.push_back(AFile());
    unsynced.OnWritten(std::to_string(i), files.back(), 1);
    const auto overdue = unsynced.TakeOverdue();
    if (overdue) {
      EXPECT_EQ(overdue, files[static_cast<std::size_t>(i) - 32]) << "the oldest";
    }
  }
  EXPECT_EQ(unsynced.Unsynced(), 32U);
  EXPECT_EQ(files.front().use_count(), 1);
}

TEST(WriteBehindTest, RemovedFileIsLetGo) {
  WriteBehind unsynced(64 * kMebibyte);
  const auto file = AFile();
  unsynced.OnWritten("a", file, 20 * kMebibyte);
  unsynced.Forget("a");
  unsynced.Forget("unknown");
  EXPECT_EQ(unsynced.Unsynced(), 0U);
  EXPECT_EQ(file.use_count(), 1) << "or its space would not come back";
}

TEST(WriteBehindTest, WithoutABoundNothingIsKept) {
  WriteBehind unsynced(0);
  const auto file = AFile();
  EXPECT_FALSE(unsynced.OnWritten("a", file, 1000 * kMebibyte));
  EXPECT_EQ(unsynced.TakeOverdue(), nullptr);
  EXPECT_EQ(file.use_count(), 1);
}

TEST(WriteBehindTest, HalfOfWhatTheLimitLeavesMayBeUnsynced) {
  EXPECT_EQ(UnsyncedBytesUnder(384 * kMebibyte, 256 * kMebibyte), 64 * kMebibyte);
  EXPECT_EQ(UnsyncedBytesUnder(256 * kMebibyte, 256 * kMebibyte), 16 * kMebibyte)
      << "something must be";
  EXPECT_EQ(UnsyncedBytesUnder(100 * kMebibyte, 256 * kMebibyte), 16 * kMebibyte);
}

}  // namespace
}  // namespace sluice::cache
