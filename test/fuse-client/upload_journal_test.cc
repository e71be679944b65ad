#include "upload_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::fuse_client {
namespace {

TEST(UploadJournalTest, NotesOutliveTheProcess) {
  const auto state = *StateFile::Create();
  {
    UploadJournal journal(*state);
    const auto first = journal.Of("s3 a").Keep("key\nid");
    ASSERT_TRUE(journal.Of("s3 b").Keep("key"));
    ASSERT_TRUE(first);
    journal.Of("s3 a").Drop(*first);
    ASSERT_TRUE(journal.Of("s3 a").Keep("other\nid"));
  }
  const auto left = UploadJournal(*state).LeftOver();
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0].origin, "s3 a");
  EXPECT_EQ(left[0].token, "other\nid");
  EXPECT_EQ(left[1].origin, "s3 b");
}

TEST(UploadJournalTest, WhatHasNoRoomIsNotNoted) {
  const auto state = *StateFile::Create();
  UploadJournal journal(*state);
  EXPECT_FALSE(journal.Keep("origin", std::string(3000, 'x')));
  for (std::uint32_t i = 0; i < kUploadRecords; ++i) EXPECT_TRUE(journal.Keep("origin", "token"));
  EXPECT_FALSE(journal.Keep("origin", "token"));
  journal.Drop(3);
  EXPECT_EQ(journal.Keep("origin", "token"), 3U);
}

TEST(UploadJournalTest, NotesDoNotDisturbTheOpenTable) {
  const auto state = *StateFile::Create();
  EXPECT_EQ(reinterpret_cast<std::byte*>(state->Opens().data() + state->Opens().size()),
            reinterpret_cast<std::byte*>(state->Uploads().data()));
}

}  // namespace
}  // namespace sluice::fuse_client
