#include "file_system.h"

#include <eventually.h>
#include <fake_origin.h>

#include <filesystem>
#include <future>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "make_index.h"

namespace sluice::fuse_client {
namespace {

using sluice::test::Eventually;
using sluice::testing::Content;
using sluice::testing::FakeOrigin;
using sluice::testing::MakeContent;
using ::testing::ElementsAre;

class FakeBackingFiles final : public BackingFiles {
 public:
  Result<std::int32_t> Register(std::uint64_t node_id, int) override {
    if (refuse) return Fail(Code::kPermissionDenied, "no");
    registered.insert(node_id);
    return ++next;
  }
  void Unregister(std::int32_t id) override { unregistered.push_back(id); }

  bool refuse = false;
  std::int32_t next = 0;
  std::set<std::uint64_t> registered;
  std::vector<std::int32_t> unregistered;
};

class FileSystemTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-fs-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    Start();
  }
  void TearDown() override {
    reader_.reset();
    std::filesystem::remove_all(directory_);
  }
  void Start() {
    files_.reset();
    reader_.reset();
    opens_ = std::make_unique<OpenTable>(*state_);
    reader_ = cache::Reader::Start({.cache_directory = directory_ / "cache",
                                    .memory_budget_bytes = 256 << 20,
                                    .read_deadline = std::chrono::seconds(2)},
                                   metrics_, log_);
    FileSystemOptions options;
    options.mounts = {{"", cache::SourceOf(origin_)}};
    options.backing_files = &backing_;
    options.on_stale = [this] { ++stale_; };
    files_ = std::make_unique<FileSystem>(std::move(options), *reader_, *opens_, metrics_);
    if (origin_->List()->objects.empty()) return;
    Publish();
  }
  // Lists the origin; returns the snapshot before.
  std::shared_ptr<const Index> Publish() {
    return files_->Publish(MakeIndex({{"/", origin_->Describe(), *origin_->List()}}));
  }
  std::uint64_t Id(const char* name) { return files_->Lookup(kRootId, name)->id; }
  Result<Content> Read(std::uint64_t id, std::uint64_t offset, std::size_t size) {
    std::promise<Result<Content>> promise;
    files_->Read(id, offset, size, [&](Result<cache::Bytes> bytes) {
      if (!bytes) return promise.set_value(Fail(bytes.error()));
      Content content(bytes->size());
      bytes->CopyTo(content);
      promise.set_value(std::move(content));
    });
    auto answer = promise.get_future();
    if (answer.wait_for(std::chrono::seconds(20)) != std::future_status::ready) {
      ADD_FAILURE() << "no answer";
      std::abort();
    }
    return answer.get();
  }
  // Reads the whole file until its cache file is complete on disk.
  void Complete(std::uint64_t id, std::size_t size) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < end) {
      ASSERT_TRUE(Read(id, 0, size).has_value());
      const auto opened = files_->Open(id);
      ASSERT_TRUE(opened.has_value());
      files_->Release(id);
      if (opened->backing_id != 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "never complete";
  }

  std::filesystem::path directory_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::shared_ptr<FakeOrigin> origin_ = std::make_shared<FakeOrigin>();
  std::unique_ptr<StateFile> state_ = *StateFile::Create();
  FakeBackingFiles backing_;
  std::atomic<int> stale_ = 0;
  std::unique_ptr<OpenTable> opens_;
  std::unique_ptr<cache::Reader> reader_;
  std::unique_ptr<FileSystem> files_;
};

TEST_F(FileSystemTest, AFileTellsItsVersionAndHowMuchOfItIsCached) {
  const std::string version = origin_->Put("d/f", MakeContent(10 << 20, 1)).version;
  origin_->Put("empty", {});
  Publish();
  const std::uint64_t directory = Id("d");
  const std::uint64_t file = files_->Lookup(directory, "f")->id;
  EXPECT_THAT(*files_->ExtendedAttributes(file), ElementsAre(kVersionAttribute, kCachedAttribute));
  EXPECT_EQ(**files_->ExtendedAttribute(file, kVersionAttribute), version);
  EXPECT_EQ(**files_->ExtendedAttribute(file, kCachedAttribute), "0.0000");
  Complete(file, 10 << 20);
  EXPECT_EQ(**files_->ExtendedAttribute(file, kCachedAttribute), "1.0000");
  EXPECT_EQ(**files_->ExtendedAttribute(Id("empty"), kCachedAttribute), "1.0000");
  EXPECT_EQ(*files_->ExtendedAttribute(file, "user.other"), std::nullopt);
  EXPECT_THAT(*files_->ExtendedAttributes(directory), ElementsAre());
  EXPECT_EQ(*files_->ExtendedAttribute(directory, kCachedAttribute), std::nullopt);
  EXPECT_EQ(files_->ExtendedAttribute(12345, kCachedAttribute).error().code, Code::kConflict);
}

constexpr std::size_t kPassed = 1'200'000;  // large enough to be passed through

class DirectoryPrefetchTest : public FileSystemTest {
 protected:
  static constexpr std::size_t kFile = 100'000;
  void SetUp() override {
    FileSystemTest::SetUp();
    for (int i = 0; i < 40; ++i) origin_->Put(fmt::format("d/{:02}", i), MakeContent(kFile, i));
    Publish();
    directory_id_ = Id("d");
  }
  // As an application does with a small file.
  void OpenAndRead(int i) {
    const std::uint64_t id = files_->Lookup(directory_id_, fmt::format("{:02}", i))->id;
    ASSERT_TRUE(files_->Open(id).has_value());
    files_->PrefetchAfter(id);
    ASSERT_TRUE(*Read(id, 0, kFile) == MakeContent(kFile, i));
    files_->Release(id);
  }
  std::uint64_t directory_id_ = 0;
};

TEST_F(DirectoryPrefetchTest, FilesAreThereBeforeTheyAreOpenedInOrder) {
  for (int i = 0; i < 3; ++i) OpenAndRead(i);
  EXPECT_EQ(origin_->Reads().size(), 3U + 4U);  // 3 to 6 ahead
  ASSERT_TRUE(Eventually([&] { return origin_->BytesServed() == 7 * kFile; }));
  origin_->SetScript([](const FakeOrigin::Read&) {
    return FakeOrigin::Fault{{Code::kPermissionDenied, "no more"}, 0};
  });
  for (int i = 3; i < 7; ++i) OpenAndRead(i);
}

TEST_F(DirectoryPrefetchTest, EachFileOfADirectoryIsReadOnceAndNoneStaysOpen) {
  for (int i = 0; i < 40; ++i) OpenAndRead(i);
  EXPECT_EQ(origin_->Reads().size(), 40U);
  EXPECT_EQ(files_->HeldAhead(), 0U);
}

TEST_F(DirectoryPrefetchTest, FilesAreNotFetchedWhenTheOrderIsRandom) {
  for (const int i : {0, 20, 10, 35, 29}) OpenAndRead(i);
  EXPECT_EQ(origin_->Reads().size(), 5U);
}

TEST_F(DirectoryPrefetchTest, FilesThatTheKernelHasAreNotAskedForAhead) {
  for (int i = 40; i < 400; ++i) origin_->Put(fmt::format("d/{}", i), MakeContent(kFile, i));
  Publish();
  for (int i = 100; i < 350; ++i) {
    const std::uint64_t id = files_->Lookup(directory_id_, std::to_string(i))->id;
    ASSERT_TRUE(files_->Open(id).has_value());
    files_->PrefetchAfter(id);
    files_->Release(id);
  }
  const std::size_t asked = origin_->Reads().size();
  EXPECT_LE(asked, 33U + 64U);
  EXPECT_EQ(files_->HeldAhead(), 0U);
  for (int i = 350; i < 355; ++i) OpenAndRead(i);
  EXPECT_GT(origin_->Reads().size(), asked + 5U) << "a read shows that it has not got them";
}

TEST_F(DirectoryPrefetchTest, LargeFilesAndDirectoriesArePassedOver) {
  origin_->Put("d/03", MakeContent(2 << 20, 1));
  origin_->Put("d/04/x", MakeContent(kFile, 1));
  origin_->Delete("d/04");
  Publish();
  for (int i = 0; i < 3; ++i) OpenAndRead(i);
  EXPECT_EQ(origin_->Reads().size(), 3U + 2U);
}

TEST_F(FileSystemTest, LooksUpListsAndReads) {
  const Content content = MakeContent(300'000, 1);
  origin_->Put("a/b", content);
  origin_->Put("empty", {});
  Publish();
  const auto directory = files_->Lookup(kRootId, "a");
  ASSERT_TRUE(directory.has_value());
  EXPECT_TRUE(directory->is_directory);
  const auto file = files_->Lookup(directory->id, "b");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->size, content.size());
  EXPECT_EQ(files_->GetAttributes(file->id)->size, content.size());
  EXPECT_EQ(*Read(file->id, 0, content.size()), content);
  EXPECT_EQ(*Read(file->id, 299'999, 4096), Content(content.end() - 1, content.end()));
  EXPECT_EQ(Read(file->id, 300'000, 4096)->size(), 0U);
  EXPECT_EQ(Read(Id("empty"), 0, 4096)->size(), 0U);
  EXPECT_EQ(files_->Lookup(kRootId, "missing").error().code, Code::kNotFound);
  EXPECT_EQ(files_->Open(kRootId).error().code, Code::kInvalidArgument);
  EXPECT_EQ(files_->Totals().files, 2U);
}

TEST_F(FileSystemTest, ALinkTellsItsTextAndIsNotRead) {
  Listing listing = *origin_->List();
  OriginObject link;
  link.path = "link";
  link.version = "d/target";
  link.size = link.version.size();
  link.kind = ObjectKind::kLink;
  listing.objects.push_back(link);
  const auto file = origin_->Put("file", MakeContent(10, 1));
  listing.objects.push_back(file);
  files_->Publish(MakeIndex({{"/", origin_->Describe(), std::move(listing)}}));
  const auto attributes = files_->Lookup(kRootId, "link");
  ASSERT_TRUE(attributes) << attributes.error().message;
  EXPECT_TRUE(attributes->is_link);
  EXPECT_EQ(attributes->size, 8U);
  EXPECT_EQ(*files_->ReadLink(attributes->id), "d/target");
  EXPECT_EQ(files_->ReadLink(Id("file")).error().code, Code::kInvalidArgument);
  EXPECT_EQ(files_->ReadLink(kRootId).error().code, Code::kInvalidArgument);
  EXPECT_EQ(files_->ReadLink(12345).error().code, Code::kConflict);
  EXPECT_EQ(files_->Open(attributes->id).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(files_->ExtendedAttributes(attributes->id)->empty());
}

TEST_F(FileSystemTest, ListingGoesOnWhereItStopped) {
  for (const char* const name : {"c", "a", "b"}) origin_->Put(name, MakeContent(1, 1));
  Publish();
  std::vector<std::string> names;
  std::uint64_t offset = 0;
  const auto handle = files_->OpenDirectory(kRootId);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(files_
                    ->ReadDirectory(kRootId, *handle, offset,
                                    [&](const FileSystem::DirectoryEntry& entry) {
                                      names.emplace_back(entry.name);
                                      offset = entry.next;
                                      return false;  // one at a time
                                    })
                    .has_value());
  }
  EXPECT_THAT(names, ElementsAre(".", "..", "a", "b", "c"));
}

TEST_F(FileSystemTest, OpenDirectoryStaysAsItWas) {
  origin_->Put("a", MakeContent(1, 1));
  Publish();
  const auto before = files_->OpenDirectory(kRootId);
  origin_->Put("b", MakeContent(1, 1));
  EXPECT_EQ(Publish()->Totals().files, 1U);
  const auto count = [&](std::uint64_t handle) {
    int entries = 0;
    (void)files_->ReadDirectory(kRootId, handle, 0, [&](const auto&) { return ++entries > 0; });
    return entries;
  };
  EXPECT_EQ(count(*before), 3);
  EXPECT_EQ(count(*files_->OpenDirectory(kRootId)), 4);
  files_->ReleaseDirectory(*before);
  EXPECT_EQ(count(*before), 4) << "an unknown handle sees the present";
}

TEST_F(FileSystemTest, ChangedObjectIsStaleUntilItIsListedAgain) {
  origin_->Put("f", MakeContent(100'000, 1));
  Publish();
  const std::uint64_t before = Id("f");
  ASSERT_TRUE(files_->Open(before).has_value());
  origin_->Put("f", MakeContent(100'000, 2));
  EXPECT_EQ(Read(before, 0, 4096).error().code, Code::kConflict);
  EXPECT_GT(stale_, 0);
  EXPECT_EQ(files_->Open(before).error().code, Code::kConflict);
  Publish();
  const std::uint64_t after = Id("f");
  EXPECT_NE(after, before);
  EXPECT_EQ(*Read(after, 0, 100'000), MakeContent(100'000, 2));
  EXPECT_TRUE(files_->GetAttributes(before).has_value()) << "it is open";
  files_->Release(before);
  EXPECT_EQ(files_->GetAttributes(before).error().code, Code::kConflict);
}

TEST_F(FileSystemTest, DeletedObjectIsListedAgainAndGoneThen) {
  origin_->Put("f", MakeContent(9'000'000, 1));
  Publish();
  const std::uint64_t id = Id("f");
  ASSERT_TRUE(files_->Open(id).has_value());
  origin_->Delete("f");
  EXPECT_EQ(Read(id, 0, 4096).error().code, Code::kNotFound);
  EXPECT_GT(stale_, 0);
  Publish();
  EXPECT_EQ(files_->Lookup(kRootId, "f").error().code, Code::kNotFound);
  // The open handle reads on should the same object come back.
  origin_->Restore("f");
  EXPECT_TRUE(Read(id, 0, 4096).has_value());
  files_->Release(id);
}

TEST_F(FileSystemTest, SmallFileIsNotWorthPassingThrough) {
  origin_->Put("f", MakeContent(1 << 20, 1));
  origin_->Put("small", MakeContent((1 << 20) - 1, 1));
  Publish();
  Complete(Id("f"), 1 << 20);
  const std::uint64_t small = Id("small");
  ASSERT_TRUE(Eventually([&] {
    return Read(small, 0, 1 << 20).has_value() &&
           **files_->ExtendedAttribute(small, kCachedAttribute) == "1.0000";
  }));
  EXPECT_EQ(files_->Open(small)->backing_id, 0);
}

TEST_F(FileSystemTest, CompleteFileIsPassedThroughWithOneIdForAllOpens) {
  origin_->Put("f", MakeContent(kPassed, 1));
  Publish();
  const std::uint64_t id = Id("f");
  Complete(id, kPassed);
  const auto unregistered = backing_.unregistered.size();
  const auto first = files_->Open(id);
  const auto second = files_->Open(id);
  ASSERT_NE(first->backing_id, 0);
  EXPECT_EQ(first->backing_id, second->backing_id);
  files_->Release(id);
  EXPECT_EQ(backing_.unregistered.size(), unregistered);
  files_->Release(id);
  EXPECT_EQ(backing_.unregistered.size(), unregistered + 1);
}

TEST_F(FileSystemTest, InodeStaysInTheModeOfItsFirstOpen) {
  origin_->Put("f", MakeContent(kPassed, 1));
  Publish();
  const std::uint64_t id = Id("f");
  ASSERT_EQ(files_->Open(id)->backing_id, 0);  // nothing is cached yet
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Read(id, 0, kPassed).has_value());
    const auto opened = files_->Open(id);
    EXPECT_EQ(opened->backing_id, 0) << "mixed modes make the kernel refuse";
    files_->Release(id);
  }
  files_->Release(id);
  Complete(id, kPassed);
}

TEST_F(FileSystemTest, SuccessorKeepsModeAndIdOfWhatIsOpen) {
  origin_->Put("cached", MakeContent(1000, 1));
  origin_->Put("passed", MakeContent(kPassed, 2));
  Publish();
  const std::uint64_t cached = Id("cached");
  const std::uint64_t passed = Id("passed");
  ASSERT_EQ(files_->Open(cached)->backing_id, 0);
  Complete(passed, kPassed);
  const std::int32_t backing = files_->Open(passed)->backing_id;
  ASSERT_TRUE(Read(cached, 0, 1000).has_value());

  Start();  // another process with the same state
  EXPECT_EQ(files_->Open(cached)->backing_id, 0);
  EXPECT_EQ(files_->Open(passed)->backing_id, backing);
  EXPECT_EQ(*Read(cached, 0, 1000), MakeContent(1000, 1)) << "handles carry no state";
  for (int i = 0; i < 2; ++i) {
    files_->Release(passed);
    files_->Release(cached);
  }
  EXPECT_EQ(backing_.unregistered.back(), backing);
  EXPECT_TRUE(opens_->Load().empty());
}

TEST_F(FileSystemTest, SuccessorCountsAReplayedOpenAndReleaseOnce) {
  origin_->Put("f", MakeContent(kPassed, 1));
  Publish();
  const std::uint64_t id = Id("f");
  Complete(id, kPassed);
  std::uint64_t first = 0;  // the journal slots of two opens and a release
  std::uint64_t second = 0;
  std::uint64_t release = 0;
  const std::int32_t backing = files_->Open(id, RequestEffect(first))->backing_id;
  ASSERT_NE(backing, 0);
  ASSERT_TRUE(files_->Open(id, RequestEffect(second)).has_value());
  files_->Release(id, RequestEffect(release));

  Start();  // after a kill before any of the three was cleared
  EXPECT_EQ(files_->Open(id, RequestEffect(second))->backing_id, backing);
  files_->Release(id, RequestEffect(release));
  EXPECT_EQ(files_->Open(id, RequestEffect(first))->backing_id, backing);
  ASSERT_EQ(opens_->Load().size(), 1U);
  EXPECT_EQ(opens_->Load()[0].entry.opens, 1U);

  std::uint64_t last = 0;
  files_->Release(id, RequestEffect(last));
  Start();
  files_->Release(id, RequestEffect(last));
  EXPECT_EQ(files_->Open(id, RequestEffect(first))->backing_id, 0) << "nobody waits for this";
  EXPECT_TRUE(opens_->Load().empty());
}

TEST_F(FileSystemTest, RefusedPassthroughFallsBackSilently) {
  backing_.refuse = true;
  origin_->Put("f", MakeContent(kPassed, 1));
  Publish();
  const std::uint64_t id = Id("f");
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Read(id, 0, kPassed).has_value());
    ASSERT_EQ(files_->Open(id)->backing_id, 0);
    files_->Release(id);
  }
}

TEST_F(FileSystemTest, ManyThreadsOpenReadAndRelease) {
  origin_->Put("f", MakeContent(500'000, 1));
  Publish();
  const std::uint64_t id = Id("f");
  const Content content = MakeContent(500'000, 1);
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        if (!files_->Open(id)) ++wrong;
        const auto offset = static_cast<std::uint64_t>((i * 7919 + t * 104'729) % 490'000);
        const auto bytes = Read(id, offset, 4096);
        const auto at = content.begin() + static_cast<std::ptrdiff_t>(offset);
        if (!bytes || *bytes != Content(at, at + 4096)) ++wrong;
        files_->Release(id);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(opens_->Load().empty());
}

}  // namespace
}  // namespace sluice::fuse_client
