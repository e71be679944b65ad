#include "writing.h"

#include <eventually.h>
#include <fake_origin.h>
#include <fcntl.h>

#include <cerrno>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_writer.h"
#include "make_index.h"

namespace sluice::fuse_client {
namespace {

using sluice::test::Eventually;
using sluice::testing::FakeOrigin;
using sluice::testing::MakeContent;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::uint64_t kOwner = 7;
constexpr std::uint64_t kOther = 8;

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class WritingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    origin_->Put("there", MakeContent(10, 1));
    origin_->Put("d/there", MakeContent(10, 2));
    Publish();
    Start();
  }
  void Start() {
    WritingOptions options;
    options.mounts = {{"", "identity", "fake://", &writer_}};
    options.memory_bytes = 4 * kFakeBlock;
    options.on_made = [this] { ++made_; };
    writing_ = std::make_unique<Writing>(std::move(options), files_, journal_, metrics_, log_);
  }
  void Publish() {
    const std::uint64_t mark = files_.New().Mark();
    files_.Publish(MakeIndex({{"/", origin_->Describe(), *origin_->List()}}), mark);
  }
  std::uint64_t Create(const std::string& name, std::uint64_t directory = kRootId) {
    const auto opened = writing_->Create(directory, name, O_WRONLY | O_CREAT);
    EXPECT_TRUE(opened) << opened.error();
    return opened ? opened->handle : 0;
  }
  int Write(std::uint64_t handle, std::uint64_t offset, std::string_view text,
            std::uint64_t owner = kOwner) {
    Heard heard;
    writing_->Write(handle, offset, BytesOf(text), owner, heard.Take());
    return *heard.error;
  }
  int Flush(std::uint64_t handle, std::uint64_t owner = kOwner) {
    Heard heard;
    writing_->Flush(handle, owner, heard.Take());
    return *heard.error;
  }
  int Close(std::uint64_t handle) {
    const int error = Flush(handle);
    writing_->Release(handle);
    return error;
  }
  int Rename(const std::string& from, const std::string& to, bool replace = true) {
    auto heard = std::make_shared<std::atomic<int>>(-1);
    writing_->Rename({kRootId, from}, {kRootId, to}, replace, [heard](int e) { *heard = e; });
    EXPECT_TRUE(Eventually([&] { return *heard >= 0; }));
    return *heard;
  }
  std::vector<std::string> Names(std::uint64_t directory = kRootId) {
    std::vector<std::string> names;
    const auto handle = files_.OpenDirectory(directory);
    EXPECT_TRUE(handle);
    // In pieces of one, as a small buffer of the kernel asks for them.
    for (std::uint64_t offset = 0;;) {
      const std::uint64_t before = offset;
      EXPECT_TRUE(files_.ReadDirectory(directory, *handle, offset,
                                       [&](const FileSystem::DirectoryEntry& entry) {
                                         if (offset != before) return false;
                                         offset = entry.next;
                                         names.emplace_back(entry.name);
                                         return true;
                                       }));
      if (offset == before) break;
    }
    files_.ReleaseDirectory(*handle);
    std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
    return names;
  }

  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::shared_ptr<FakeOrigin> origin_ = std::make_shared<FakeOrigin>();
  std::unique_ptr<StateFile> state_ = *StateFile::Create();
  OpenTable opens_{*state_};
  UploadJournal journal_{*state_};
  std::unique_ptr<cache::Reader> reader_ =
      cache::Reader::Start({.cache_directory = ""}, metrics_, log_);
  FileSystem files_{{.mounts = {{"", cache::SourceOf(origin_)}}}, *reader_, opens_, metrics_};
  FakeWriter writer_;
  int made_ = 0;
  std::unique_ptr<Writing> writing_;
};

TEST_F(WritingTest, AFileIsAnObjectWhenItIsClosed) {
  const std::uint64_t handle = Create("new");
  EXPECT_EQ(Write(handle, 0, "hello "), 0);
  EXPECT_EQ(Write(handle, 6, "world"), 0);
  EXPECT_EQ(files_.Lookup(kRootId, "new")->size, 11U);
  EXPECT_THAT(writer_.objects, IsEmpty());
  EXPECT_EQ(Flush(handle), 0);
  EXPECT_EQ(writer_.objects["new"], "hello world");
  EXPECT_EQ(files_.Lookup(kRootId, "new")->id, FileId("identity", "new", "v1"));
  writing_->Release(handle);
  EXPECT_EQ(writer_.times["new"], 1U);
  EXPECT_EQ(made_, 1);
  EXPECT_EQ(Write(handle, 11, "x"), EIO) << "the handle is no more";
  EXPECT_THAT(metrics_.Render(), HasSubstr("sluice_fuse_uploads_total{result=\"made\"} 1"));
  EXPECT_THAT(metrics_.Render(), HasSubstr("sluice_fuse_written_bytes_total 11"));
}

TEST_F(WritingTest, FullBlocksAreSentWhileTheFileIsWritten) {
  const std::uint64_t handle = Create("new");
  const std::string text(2 * kFakeBlock + 10, 'x');
  EXPECT_EQ(Write(handle, 0, text), 0);
  EXPECT_EQ(Write(handle, 5, "y"), EINVAL) << "it is sent";
  EXPECT_EQ(Write(handle, text.size() - 1, "y"), 0) << "it is not";
  EXPECT_EQ(Write(handle, text.size() + 1, "y"), EINVAL) << "a gap";
  EXPECT_EQ(Close(handle), 0);
  EXPECT_EQ(writer_.objects["new"], text.substr(1) + "y");
}

TEST_F(WritingTest, AWriterWaitsWhileMuchIsOnItsWay) {
  writer_.hold = true;
  const std::uint64_t handle = Create("new");
  const std::string block(kFakeBlock, 'x');
  std::vector<Heard> heard(6);
  for (std::size_t i = 0; i < heard.size() && (i == 0 || *heard[i - 1].error == 0); ++i) {
    writing_->Write(handle, i * kFakeBlock, BytesOf(block), kOwner, heard[i].Take());
  }
  // Four blocks in memory are the budget: the fifth waits for one of them.
  EXPECT_EQ(*heard[3].error, 0);
  EXPECT_EQ(*heard[4].error, -1);
  ASSERT_TRUE(writer_.Answer());
  EXPECT_EQ(*heard[4].error, 0);
  while (writer_.Answer()) {
  }
  writer_.hold = false;
  EXPECT_EQ(Close(handle), 0);
  EXPECT_EQ(writer_.objects["new"].size(), 5 * kFakeBlock);
}

TEST_F(WritingTest, AFailureIsToldAndTheNameIsGone) {
  writer_.refuse = Error{Code::kUnavailable, "no"};
  writer_.shortage = Shortage::kSpace;
  const std::uint64_t handle = Create("new");
  EXPECT_EQ(Write(handle, 0, std::string(2 * kFakeBlock, 'x')), ENOSPC);
  EXPECT_EQ(Flush(handle), ENOSPC);
  writing_->Release(handle);
  EXPECT_EQ(files_.Lookup(kRootId, "new").error().code, Code::kNotFound);
  EXPECT_EQ(writer_.dropped, 1U);
  EXPECT_THAT(metrics_.Render(), HasSubstr("sluice_fuse_uploads_total{result=\"failed\"} 1"));
}

TEST_F(WritingTest, OnlyWhoHasWrittenMakesTheObjectByClosing) {
  const std::uint64_t handle = Create("new");
  EXPECT_EQ(Flush(handle, kOwner), 0) << "a shell closes the copy of a descriptor";
  EXPECT_EQ(Write(handle, 0, "one ", kOwner), 0);
  EXPECT_EQ(Flush(handle, kOther), 0) << "a child that has not written ends";
  EXPECT_EQ(writer_.objects["new"], "");
  EXPECT_EQ(Write(handle, 4, "two", kOther), 0);
  EXPECT_EQ(Flush(handle, kOther), 0);
  EXPECT_EQ(writer_.objects["new"], "one two");
  // A small file may go on after that.
  EXPECT_EQ(Write(handle, 7, " three", kOwner), 0);
  EXPECT_EQ(Close(handle), 0);
  EXPECT_EQ(writer_.objects["new"], "one two three");
}

TEST_F(WritingTest, AnEmptyFileIsMadeByWhoeverClosesIt) {
  const std::uint64_t handle = Create("empty");
  EXPECT_EQ(Flush(handle), 0);
  EXPECT_EQ(writer_.objects.count("empty"), 1U);
  writing_->Release(handle);
}

TEST_F(WritingTest, AFileIsNotReadWhileItIsWritten) {
  const auto opened = writing_->Create(kRootId, "new", O_WRONLY);
  ASSERT_TRUE(opened);
  EXPECT_EQ(Write(opened->handle, 0, "x"), 0);
  Heard busy;
  EXPECT_TRUE(writing_->RefuseReading(opened->attributes.id, busy.Take()));
  EXPECT_EQ(*busy.error, EBUSY);
  EXPECT_EQ(Flush(opened->handle), 0);
  // The kernel looks the name up again, and finds the object.
  Heard stale;
  EXPECT_TRUE(writing_->RefuseReading(opened->attributes.id, stale.Take()));
  EXPECT_EQ(*stale.error, ESTALE);
  Heard nothing;
  EXPECT_FALSE(writing_->RefuseReading(files_.Lookup(kRootId, "new")->id, nothing.Take()));
  EXPECT_TRUE(files_.Open(files_.Lookup(kRootId, "new")->id).has_value());
}

TEST_F(WritingTest, AnExistingFileIsReplacedOrKept) {
  const std::uint64_t id = files_.Lookup(kRootId, "there")->id;
  EXPECT_EQ(writing_->Open(id, O_WRONLY).error(), EPERM);
  ASSERT_TRUE(files_.Open(id).has_value());
  EXPECT_EQ(writing_->Open(id, O_WRONLY | O_TRUNC).error(), ETXTBSY) << "it is being read";
  files_.Release(id);
  auto opened = writing_->Open(id, O_WRONLY | O_TRUNC);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->attributes.id, id);
  EXPECT_EQ(Write(opened->handle, 0, "x"), 0);
  writer_.refuse = Error{Code::kPermissionDenied, "no"};
  EXPECT_EQ(Close(opened->handle), EACCES);
  EXPECT_EQ(files_.Lookup(kRootId, "there")->size, 10U) << "it is what it was";
  writer_.refuse.reset();
  opened = writing_->Open(id, O_WRONLY | O_TRUNC);
  ASSERT_TRUE(opened);
  EXPECT_EQ(Write(opened->handle, 0, "abc"), 0);
  EXPECT_EQ(Close(opened->handle), 0);
  EXPECT_EQ(files_.Lookup(kRootId, "there")->size, 3U);
  // The kernel may have the old node under this name.
  EXPECT_EQ(files_.GetAttributes(id).error().code, Code::kConflict);
  EXPECT_EQ(files_.Open(id).error().code, Code::kConflict);
  EXPECT_EQ(writing_->Open(id, O_WRONLY | O_TRUNC).error(), ESTALE);
}

TEST_F(WritingTest, NewNamesAreListedOnceUntilTheListingHasThem) {
  EXPECT_EQ(Close(Create("new")), 0);
  const auto directory = writing_->MakeDirectory(kRootId, "e");
  ASSERT_TRUE(directory);
  EXPECT_EQ(Close(Create("inner", directory->id)), 0);
  EXPECT_EQ(writing_->MakeDirectory(kRootId, "d").error(), EEXIST);
  EXPECT_THAT(Names(), UnorderedElementsAre("there", "d", "new", "e"));
  EXPECT_THAT(Names(directory->id), ElementsAre("inner"));
  // A listing that has some of it; the file of another version.
  origin_->Put("e/inner", MakeContent(4, 3));
  origin_->Put("new", MakeContent(5, 4));
  for (int round = 0; round < 2; ++round) {
    Publish();
    EXPECT_THAT(Names(), UnorderedElementsAre("there", "d", "new", "e"));
    EXPECT_EQ(files_.Lookup(kRootId, "new")->size, 5U) << "the origin knows better";
    EXPECT_THAT(Names(directory->id), ElementsAre("inner"));
  }
}

TEST_F(WritingTest, WhatSomebodyElseDeletedGoesWithTheNextListing) {
  EXPECT_EQ(Close(Create("new")), 0);
  const auto before = files_.OpenDirectory(kRootId);
  Publish();
  EXPECT_EQ(files_.Lookup(kRootId, "new").error().code, Code::kNotFound);
  EXPECT_THAT(Names(), UnorderedElementsAre("there", "d"));
  // Who was reading the directory goes on where he was.
  std::vector<std::string> names;
  ASSERT_TRUE(files_.ReadDirectory(kRootId, *before, 2, [&](const auto& entry) {
    names.emplace_back(entry.name);
    return true;
  }));
  EXPECT_THAT(names, UnorderedElementsAre("there", "d", "new"));
}

TEST_F(WritingTest, AFileThatIsMadeDuringAListingStays) {
  const std::uint64_t mark = files_.New().Mark();
  EXPECT_EQ(Close(Create("new")), 0);
  files_.Publish(MakeIndex({{"/", origin_->Describe(), *origin_->List()}}), mark);
  EXPECT_TRUE(files_.Lookup(kRootId, "new"));
}

TEST_F(WritingTest, DirectoriesWithoutFilesAreRemoved) {
  const auto directory = writing_->MakeDirectory(kRootId, "e");
  ASSERT_TRUE(directory);
  const std::uint64_t handle = Create("inner", directory->id);
  EXPECT_EQ(writing_->RemoveDirectory(kRootId, "e"), ENOTEMPTY);
  EXPECT_EQ(Write(handle, 0, "x"), 0);
  EXPECT_EQ(Close(handle), 0);
  EXPECT_EQ(writing_->RemoveDirectory(kRootId, "e"), ENOTEMPTY);
  EXPECT_EQ(writing_->RemoveDirectory(kRootId, "d"), ENOTEMPTY);
  ASSERT_TRUE(writing_->MakeDirectory(kRootId, "f"));
  EXPECT_EQ(writing_->RemoveDirectory(kRootId, "f"), 0);
  EXPECT_EQ(writing_->RemoveDirectory(kRootId, "f"), ENOENT);
}

TEST_F(WritingTest, WhatWasWrittenHereIsRenamed) {
  const std::uint64_t handle = Create("new.tmp");
  EXPECT_EQ(Write(handle, 0, "x"), 0);
  EXPECT_EQ(Rename("new.tmp", "new"), EBUSY) << "it is being written";
  EXPECT_EQ(Flush(handle), 0);
  EXPECT_EQ(Rename("new.tmp", "there", false), EEXIST);
  EXPECT_EQ(Rename("new.tmp", "d"), EISDIR);
  EXPECT_EQ(Rename("new.tmp", "new"), 0) << "its release may come later";
  writing_->Release(handle);
  EXPECT_EQ(writer_.objects["new"], "x");
  EXPECT_EQ(files_.Lookup(kRootId, "new")->size, 1U);
  EXPECT_EQ(files_.Lookup(kRootId, "new.tmp").error().code, Code::kNotFound);
  EXPECT_THAT(Names(), UnorderedElementsAre("there", "d", "new"));
  EXPECT_EQ(Rename("there", "elsewhere"), EPERM);
  EXPECT_EQ(Rename("nothing", "elsewhere"), ENOENT);
}

TEST_F(WritingTest, WhoWritesWhileTheObjectIsMadeWaitsForIt) {
  const std::uint64_t handle = Create("new");
  EXPECT_EQ(Write(handle, 0, "one", kOwner), 0);
  writer_.hold = true;
  Heard closed;
  Heard written;
  writing_->Flush(handle, kOwner, closed.Take());
  writing_->Write(handle, 3, BytesOf(" two"), kOther, written.Take());
  EXPECT_EQ(*written.error, -1);
  writer_.hold = false;
  ASSERT_TRUE(writer_.Answer());
  EXPECT_EQ(*closed.error, 0);
  EXPECT_EQ(*written.error, 0);
  EXPECT_EQ(writer_.objects["new"], "one");
  // The first close was answered for the first object only.
  writer_.refuse = Error{Code::kUnavailable, "no"};
  EXPECT_EQ(Flush(handle, kOther), EIO);
  EXPECT_EQ(writer_.objects["new"], "one");
  writing_->Release(handle);
}

TEST_F(WritingTest, WhatIsWrittenAfterARenameIsNotMadeUnderTheOldName) {
  const std::uint64_t handle = Create("new.tmp");
  EXPECT_EQ(Write(handle, 0, "one"), 0);
  EXPECT_EQ(Flush(handle), 0);
  EXPECT_EQ(Rename("new.tmp", "new"), 0);
  EXPECT_EQ(Write(handle, 3, " two"), EIO);
  EXPECT_EQ(Close(handle), 0);
  EXPECT_EQ(writer_.objects.count("new.tmp"), 0U);
  EXPECT_EQ(writer_.objects["new"], "one");
}

TEST_F(WritingTest, FilesAtOnceAreBoundedByMemory) {
  for (int i = 0; i < 4; ++i) Create("new" + std::to_string(i));
  EXPECT_EQ(writing_->Create(kRootId, "one more", O_WRONLY).error(), ENFILE);
}

TEST_F(WritingTest, NothingIsAnsweredAfterTheEnd) {
  writer_.hold = true;
  const std::uint64_t handle = Create("new");
  EXPECT_EQ(Write(handle, 0, "x"), 0);
  Heard heard;
  writing_->Flush(handle, kOwner, heard.Take());
  writing_->Stop();
  while (writer_.Answer()) {
  }
  EXPECT_EQ(*heard.error, -1) << "the successor answers it";
}

TEST_F(WritingTest, ASuccessorGivesUpWhatWasOnItsWay) {
  writing_.reset();
  ASSERT_TRUE(journal_.Of("identity").Keep("token").has_value());
  ASSERT_TRUE(journal_.Of("another origin").Keep("token").has_value());
  Start();
  EXPECT_TRUE(Eventually([&] { return journal_.LeftOver().empty(); }));
  EXPECT_THAT(writer_.given_up, ElementsAre("token"));
}

}  // namespace
}  // namespace sluice::fuse_client
