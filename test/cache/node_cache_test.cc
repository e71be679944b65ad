// The disk tier seen through the Reader: restarts, damage, quota, a disk that fails.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <map>

#include "reader_fixture.h"

namespace sluice::cache {
namespace {

class NodeCacheTest : public ReaderFixture {
 protected:
  NodeCacheTest() { UseDisk(); }

  void Restart() {
    reader_.reset();
    StartReader();
  }
  // Reads the file to its end and waits until the node cache holds all of it.
  void Fill(File& file, const Content& content) {
    ASSERT_NO_FATAL_FAILURE(ExpectWholeFile(file, content));
    ASSERT_TRUE(Eventually([&] { return file.OpenComplete().has_value(); }));
  }
  static void FlipByte(const std::filesystem::path& path, std::uint64_t at) {
    std::filesystem::permissions(path, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char flipped = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(flipped);
  }
};

TEST_F(NodeCacheTest, WholeFileIsHandedOutReadOnly) {
  const Content content = MakeContent(5 * kMiB + 77, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  EXPECT_EQ(file->OpenComplete().error().code, Code::kUnavailable);
  ASSERT_NO_FATAL_FAILURE(Fill(*file, content));
  const auto fd = file->OpenComplete();
  struct stat info {};
  ASSERT_EQ(fstat(fd->Get(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0444U);
  EXPECT_EQ(fcntl(fd->Get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  Content direct(content.size());
  ASSERT_EQ(pread(fd->Get(), direct.data(), direct.size(), 0), static_cast<ssize_t>(direct.size()));
  EXPECT_TRUE(direct == content);
}

TEST_F(NodeCacheTest, OneReadOfASmallObjectMakesItWhole) {
  const Content content = MakeContent(3 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 2 * kMiB, 10);
  EXPECT_TRUE(Eventually([&] { return file->OpenComplete().has_value(); }));
  EXPECT_EQ(origin_->BytesServed(), content.size());
}

TEST_F(NodeCacheTest, BlocksThatTheDiskWasTooSlowForAreStoredLater) {
  options_.memory_budget_bytes = 1;  // 4 MiB may wait for the disk, less than arrives at once
  origin_->SetInline();
  const Content content = MakeContent(24 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ASSERT_NO_FATAL_FAILURE(Fill(*file, content));
}

TEST_F(NodeCacheTest, WhatIsNotOnTheDiskYetIsBounded) {
  options_.unsynced_bytes = 4 * kMiB;
  const Content content = MakeContent(24 * kMiB, 1);
  StartReader();
  const auto object = origin_->Put("a", content);
  const auto unsynced = [&] {
    const std::string text = metrics_.Render();
    const std::string name = "\nsluice_cache_unsynced_bytes ";
    return std::stod(text.substr(text.find(name) + name.size()));
  };
  {
    const auto file = Open(object);
    ASSERT_NO_FATAL_FAILURE(Fill(*file, content));
    EXPECT_TRUE(Eventually([&] { return unsynced() > 0 && unsynced() <= 4.0 * kMiB; }));
  }
  Restart();
  EXPECT_TRUE(Eventually([&] { return Open(object)->OpenComplete().has_value(); }))
      << "and nothing is lost by it";
}

TEST_F(NodeCacheTest, ModelLoadFillsTheRestAfterTheReaderHasGone) {
  const Content content = MakeContent(100 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  auto file = Open(object);
  for (std::uint64_t at = 0; at < 40 * kMiB; at += kMiB) ExpectBytes(*file, content, at, kMiB);
  file.reset();
  EXPECT_TRUE(Eventually([&] { return Open(object)->OpenComplete().has_value(); }));
  ExpectWholeFile(*Open(object), content);
}

TEST_F(NodeCacheTest, FillingSurvivesAnOriginThatFailsForAWhile) {
  // A slow reader's read-ahead does not reach the half from which all is wanted.
  options_.memory_budget_bytes = 32 * kMiB;
  const Content content = MakeContent(100 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  std::atomic<bool> down = false;
  std::atomic<int> refused = 0;
  origin_->SetScript([&](const auto&) -> std::optional<FakeOrigin::Fault> {
    if (!down || ++refused > 2) return std::nullopt;
    return FakeOrigin::Fault{{Code::kUnavailable, "down"}, 0};
  });
  StartReader();
  auto file = Open(object);
  for (std::uint64_t at = 0; at < 31 * kMiB; at += kMiB) ExpectBytes(*file, content, at, kMiB);
  EXPECT_TRUE(
      Eventually([&] { return Metric("sluice_fetches_in_flight{kind=\"prefetch\"}") == 0; }));
  origin_->Hold();
  down = true;
  Pending last;  // the read that shows that all of it is wanted is answered from memory
  file->ReadAsync(31 * kMiB, 2 * kMiB, last.Callback());
  file.reset();
  origin_->Release();
  EXPECT_TRUE(Eventually([&] { return Open(object)->OpenComplete().has_value(); }));
  EXPECT_GT(refused, 2);
}

TEST_F(NodeCacheTest, ReadingHalfOfTheBlocksInAnyOrderFillsTheRest) {
  const Content content = MakeContent(40 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  auto file = Open(object);
  // Backwards and with gaps that no stream bridges.
  for (std::uint64_t at = 40 * kMiB; at > 0; at -= 2 * kMiB) {
    ExpectBytes(*file, content, at - 2 * kMiB, kMiB + kMiB / 4);
  }
  file.reset();
  EXPECT_TRUE(Eventually([&] { return Open(object)->OpenComplete().has_value(); }));
}

TEST_F(NodeCacheTest, OpenWaitsForWhatIsOnItsWayToTheDisk) {
  const Content content = MakeContent(4 * kMiB, 1);
  StartReader();
  for (int i = 0; i < 10; ++i) {
    const auto file = Open(origin_->Put("f" + std::to_string(i), content));
    Pending read;
    file->ReadAsync(0, content.size(), read.Callback());
    ASSERT_TRUE(read.Wait());
    EXPECT_TRUE(file->OpenComplete(std::chrono::seconds(20)).has_value()) << i;
  }
}

TEST_F(NodeCacheTest, OpenDoesNotWaitForWhatNobodyStores) {
  const Content content = MakeContent(64 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 0, 10);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(file->OpenComplete(std::chrono::seconds(20)).has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST_F(NodeCacheTest, IsWarmAfterARestart) {
  const Content content = MakeContent(20 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content));
  const std::uint64_t served = origin_->BytesServed();
  const std::uint64_t missed = reader_->Stats().miss_bytes;
  Restart();
  const auto file = Open(object);
  ExpectWholeFile(*file, content);
  EXPECT_EQ(origin_->BytesServed(), served);
  EXPECT_EQ(reader_->Stats().miss_bytes, missed);
  EXPECT_GT(reader_->Stats().disk_hit_bytes, 0U);
  EXPECT_EQ(reader_->Stats().cached_objects, 1U);
  EXPECT_GE(reader_->Stats().cached_bytes, content.size());
  // An earlier process' file is verified before it is handed out.
  EXPECT_TRUE(Eventually([&] { return file->OpenComplete().has_value(); }));
}

TEST_F(NodeCacheTest, PartOfAFileIsWarmAfterARestart) {
  const Content content = MakeContent(64 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  ExpectBytes(*Open(object), content, 40 * kMiB, kMiB);
  Restart();
  const std::uint64_t served = origin_->BytesServed();
  const auto file = Open(object);
  ExpectBytes(*file, content, 40 * kMiB, kMiB);
  EXPECT_EQ(origin_->BytesServed(), served);
  ExpectWholeFile(*file, content);
}

TEST_F(NodeCacheTest, DamagedBlockIsReadAgainFromTheOrigin) {
  const Content content = MakeContent(64 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  ExpectBytes(*Open(object), content, 40 * kMiB, kMiB);
  reader_.reset();
  ASSERT_EQ(directory_.Files(".part").size(), 1U);
  FlipByte(directory_.Files(".part")[0], 40 * kMiB + 300 * kKiB);
  StartReader();
  ExpectBytes(*Open(object), content, 40 * kMiB, kMiB);
  EXPECT_EQ(Metric("sluice_cache_corrupt_blocks_total"), 1);
}

TEST_F(NodeCacheTest, DamagedWholeFileIsNeitherServedNorHandedOut) {
  const Content content = MakeContent(8 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content));
  reader_.reset();
  ASSERT_EQ(directory_.Files(".data").size(), 1U);
  FlipByte(directory_.Files(".data")[0], 5 * kMiB);
  StartReader();
  const auto file = Open(object);
  EXPECT_FALSE(file->OpenComplete().has_value());
  EXPECT_TRUE(Eventually([&] { return Metric("sluice_cache_corrupt_blocks_total") == 1; }));
  EXPECT_FALSE(file->OpenComplete().has_value());
  // Reading fills it anew.
  ASSERT_NO_FATAL_FAILURE(Fill(*file, content));
}

TEST_F(NodeCacheTest, FileThatAnEarlierProcessBeganIsVerifiedBeforeItIsHandedOut) {
  const Content content = MakeContent(8 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  ExpectBytes(*Open(object), content, 5 * kMiB, 256 * kKiB);
  reader_.reset();
  ASSERT_EQ(directory_.Files(".part").size(), 1U);
  FlipByte(directory_.Files(".part")[0], 5 * kMiB + 100);
  StartReader();
  auto file = Open(object);
  ExpectBytes(*file, content, 0, 4 * kMiB);
  ExpectBytes(*file, content, 4 * kMiB, kMiB);
  ExpectBytes(*file, content, 5 * kMiB + 256 * kKiB, 3 * kMiB - 256 * kKiB);
  EXPECT_TRUE(Eventually([&] { return directory_.Files(".data").size() == 1; }));
  EXPECT_TRUE(Eventually([&] {
    EXPECT_FALSE(file->OpenComplete().has_value());
    return Metric("sluice_cache_corrupt_blocks_total") == 1;
  }));
  // Who opens it next fills it anew.
  file.reset();
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content));
}

struct DamageCase {
  const char* name;
  void (*damage)(const TempDirectory& directory);
};
void PrintTo(const DamageCase& c, std::ostream* out) { *out << c.name; }

class NodeCacheDamageTest : public NodeCacheTest,
                            public ::testing::WithParamInterface<DamageCase> {};

TEST_P(NodeCacheDamageTest, TornStateIsFoundAndDropped) {
  const Content content = MakeContent(8 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  StartReader();
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content));
  reader_.reset();
  GetParam().damage(directory_);
  StartReader();
  const auto file = Open(object);
  ExpectWholeFile(*file, content);
  ASSERT_NO_FATAL_FAILURE(Fill(*file, content));
}

void Truncate(const std::filesystem::path& path, std::uint64_t size) {
  std::filesystem::permissions(path, std::filesystem::perms::owner_write,
                               std::filesystem::perm_options::add);
  std::filesystem::resize_file(path, size);
}

INSTANTIATE_TEST_SUITE_P(
    Damages, NodeCacheDamageTest,
    ::testing::Values(
        DamageCase{"IndexEmpty", [](const auto& d) { Truncate(d.Files(".index")[0], 0); }},
        DamageCase{"IndexTorn",
                   [](const auto& d) {
                     const auto path = d.Files(".index")[0];
                     Truncate(path, std::filesystem::file_size(path) - 17);
                   }},
        DamageCase{"IndexGarbage",
                   [](const auto& d) {
                     std::ofstream(d.Files(".index")[0]) << std::string(5000, '\x5a');
                   }},
        DamageCase{"IndexGone",
                   [](const auto& d) { std::filesystem::remove(d.Files(".index")[0]); }},
        DamageCase{"IndexIsASymlink",
                   [](const auto& d) {
                     const auto path = d.Files(".index")[0];
                     std::filesystem::rename(path, d.Path() / "elsewhere");
                     std::filesystem::create_symlink(d.Path() / "elsewhere", path);
                   }},
        DamageCase{"DataShort", [](const auto& d) { Truncate(d.Files(".data")[0], kMiB); }},
        DamageCase{"DataGone", [](const auto& d) { std::filesystem::remove(d.Files(".data")[0]); }},
        DamageCase{"DataLostInAPowerCut",
                   [](const auto& d) {
                     const auto size = std::filesystem::file_size(d.Files(".data")[0]);
                     Truncate(d.Files(".data")[0], 0);
                     Truncate(d.Files(".data")[0], size);
                   }},
        DamageCase{"StoppedBeforeTheRename",
                   [](const auto& d) {
                     auto part = d.Files(".data")[0];
                     std::filesystem::rename(d.Files(".data")[0], part.replace_extension(".part"));
                   }},
        DamageCase{"StrangerInTheDirectory",
                   [](const auto& d) {
                     std::ofstream(d.Path() / "objects" / "README.txt") << "hello";
                     std::filesystem::create_directory(d.Path() / "objects" / "x.data");
                   }}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(NodeCacheTest, QuotaEvictsTheObjectUsedLongestAgo) {
  options_.quota_bytes = 20 * kMiB;
  StartReader();
  std::vector<OriginObject> objects;
  std::vector<Content> contents;
  for (std::uint64_t i = 0; i < 6; ++i) {
    contents.push_back(MakeContent(6 * kMiB, i));
    objects.push_back(origin_->Put("f" + std::to_string(i), contents.back()));
    ASSERT_NO_FATAL_FAILURE(Fill(*Open(objects.back()), contents.back()));
    EXPECT_LE(reader_->Stats().cached_bytes, 20 * kMiB);
  }
  EXPECT_GT(Metric("sluice_cache_evicted_bytes_total"), 0);
  // The newest is there, the oldest is not.
  EXPECT_TRUE(Open(objects[5])->OpenComplete().has_value());
  EXPECT_FALSE(Open(objects[0])->OpenComplete().has_value());
  ExpectWholeFile(*Open(objects[0]), contents[0]);
}

TEST_F(NodeCacheTest, LoweredQuotaHoldsAfterARestart) {
  StartReader();
  for (std::uint64_t i = 0; i < 4; ++i) {
    const Content content = MakeContent(6 * kMiB, i);
    ASSERT_NO_FATAL_FAILURE(Fill(*Open(origin_->Put("f" + std::to_string(i), content)), content));
  }
  options_.quota_bytes = 10 * kMiB;
  Restart();
  EXPECT_TRUE(Eventually([&] { return reader_->Stats().cached_bytes <= 10 * kMiB; }));
}

class PinnedTest : public NodeCacheTest {
 protected:
  PinnedTest() { options_.quota_bytes = 20 * kMiB; }

  // Reads `count` further objects of 6 MiB.
  void ReadOthers(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const Content content = MakeContent(6 * kMiB, i);
      ExpectWholeFile(*Open(origin_->Put("f" + std::to_string(i), content)), content);
    }
  }
  void Pin(std::initializer_list<OriginObject> objects) {
    PinSet pinned;
    for (const OriginObject& object : objects) pinned.Add(origin_->Describe(), object);
    reader_->SetPinned(std::move(pinned));
  }
  // Not by opening, which would make it the object used last.
  std::uint64_t OriginBytesFor(const OriginObject& object, const Content& content) {
    const std::uint64_t before = origin_->BytesServed();
    ExpectWholeFile(*Open(object), content);
    return origin_->BytesServed() - before;
  }

  const Content content_ = MakeContent(6 * kMiB, 99);
};

TEST_F(PinnedTest, ObjectOutlastsAllThatIsReadAfterIt) {
  StartReader();
  const OriginObject object = origin_->Put("kept", content_);
  Pin({object});
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content_));
  ReadOthers(6);
  EXPECT_EQ(OriginBytesFor(object, content_), 0U);
  EXPECT_LE(reader_->Stats().cached_bytes, 20 * kMiB);
  EXPECT_EQ(Metric("sluice_cache_pinned_objects"), 1);
}

TEST_F(PinnedTest, ObjectOfAnEarlierProcessIsKeptToo) {
  StartReader();
  const OriginObject object = origin_->Put("kept", content_);
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content_));
  Restart();
  Pin({object});
  ReadOthers(6);
  EXPECT_EQ(OriginBytesFor(object, content_), 0U);
}

TEST_F(PinnedTest, LoweredQuotaSparesThem) {
  StartReader();
  const OriginObject object = origin_->Put("kept", content_);
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content_));
  ReadOthers(2);
  options_.pinned.Add(origin_->Describe(), object);
  options_.quota_bytes = 8 * kMiB;
  Restart();
  EXPECT_TRUE(Eventually([&] { return reader_->Stats().cached_bytes <= 8 * kMiB; }));
  EXPECT_EQ(OriginBytesFor(object, content_), 0U);
}

TEST_F(PinnedTest, WhatIsNoLongerPinnedGoesLikeOthers) {
  StartReader();
  const OriginObject object = origin_->Put("kept", content_);
  Pin({object});
  ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content_));
  Pin({origin_->Put("kept", MakeContent(kMiB, 5))});  // another version
  ReadOthers(6);
  EXPECT_GT(Metric("sluice_cache_evicted_bytes_total"), 0);
  EXPECT_FALSE(Open(object)->OpenComplete().has_value());
}

TEST_F(PinnedTest, FullOfPinnedObjectsOthersPassItBy) {
  StartReader();
  std::vector<OriginObject> objects;
  for (std::uint64_t i = 0; i < 3; ++i) {
    objects.push_back(origin_->Put("kept" + std::to_string(i), content_));
  }
  Pin({objects[0], objects[1], objects[2]});
  for (const OriginObject& object : objects) ASSERT_NO_FATAL_FAILURE(Fill(*Open(object), content_));
  ReadOthers(2);
  EXPECT_EQ(origin_->BytesServed(), 5 * content_.size()) << "nothing is fetched that has no room";
  for (const OriginObject& object : objects) EXPECT_EQ(OriginBytesFor(object, content_), 0U);
  EXPECT_LE(reader_->Stats().cached_bytes, 20 * kMiB);
}

TEST_F(NodeCacheTest, OpenFileSurvivesThePressureOfOthers) {
  options_.quota_bytes = 20 * kMiB;
  StartReader();
  const Content kept_content = MakeContent(6 * kMiB, 99);
  const auto kept = Open(origin_->Put("kept", kept_content));
  ASSERT_NO_FATAL_FAILURE(Fill(*kept, kept_content));
  const auto fd = kept->OpenComplete();
  for (std::uint64_t i = 0; i < 6; ++i) {
    const Content content = MakeContent(6 * kMiB, i);
    ExpectWholeFile(*Open(origin_->Put("f" + std::to_string(i), content)), content);
  }
  EXPECT_TRUE(kept->OpenComplete().has_value());
  Content direct(kept_content.size());
  EXPECT_EQ(pread(fd->Get(), direct.data(), direct.size(), 0), static_cast<ssize_t>(direct.size()));
  EXPECT_TRUE(direct == kept_content);
}

TEST_F(NodeCacheTest, ObjectLargerThanTheQuotaIsReadAllTheSame) {
  options_.quota_bytes = 8 * kMiB;
  StartReader();
  const Content content = MakeContent(40 * kMiB, 1);
  const auto file = Open(origin_->Put("a", content));
  ExpectWholeFile(*file, content);
  EXPECT_LE(reader_->Stats().cached_bytes, 8 * kMiB);
  EXPECT_FALSE(file->OpenComplete().has_value());
  // Filling does not fetch over and over what cannot be kept.
  EXPECT_LE(origin_->BytesServed(), 2 * content.size());
}

TEST_F(NodeCacheTest, FailingDiskIsPassedByAndUsedAgainLater) {
  StartReader();
  const Content content = MakeContent(16 * kMiB, 1);
  // Writes beyond 1 MiB into any file now fail with EFBIG.
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{kMiB, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto file = Open(origin_->Put("a", content));
  ExpectWholeFile(*file, content);
  EXPECT_TRUE(Eventually([&] { return Metric("sluice_cache_write_errors_total") > 0; }));
  EXPECT_FALSE(reader_->Stats().cache_usable);
  setrlimit(RLIMIT_FSIZE, &before);
  const Content later = MakeContent(3 * kMiB, 2);
  const auto object = origin_->Put("b", later);
  EXPECT_TRUE(Eventually([&] {
    const auto again = Open(object);
    return ReadAt(*again, 0, later.size()) && again->OpenComplete().has_value();
  }));
  EXPECT_TRUE(reader_->Stats().cache_usable);
}

TEST_F(NodeCacheTest, BlocksOfAFileThatCannotBeMadeWholeAreCounted) {
  const Content content = MakeContent(8 * kMiB, 1);
  StartReader();
  const auto file = Open(origin_->Put("a", content));
  ExpectBytes(*file, content, 6 * kMiB, 1);
  ASSERT_TRUE(Eventually([&] { return directory_.Files(".part").size() == 1; }));
  const auto parts = directory_.Files(".part");
  // What the whole file would be called is a directory.
  std::filesystem::create_directory(std::filesystem::path(parts[0]).replace_extension(".data"));
  ExpectWholeFile(*file, content);
  ASSERT_TRUE(Eventually([&] { return Metric("sluice_cache_write_errors_total") > 0; }));
  EXPECT_EQ(reader_->Stats().cached_bytes, content.size());
}

TEST_F(NodeCacheTest, DirectoryThatCannotBeMadeIsPassedBy) {
  std::ofstream(directory_.Path() / "file") << "in the way";
  options_.cache_directory = (directory_.Path() / "file" / "cache").string();
  StartReader();
  const Content content = MakeContent(2 * kMiB, 1);
  ExpectWholeFile(*Open(origin_->Put("a", content)), content);
  EXPECT_FALSE(reader_->Stats().cache_usable);
}

TEST_F(NodeCacheTest, DirectoryThatIsLostIsMadeAnew) {
  StartReader();
  const Content content = MakeContent(2 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  const auto kept = Open(object);
  ASSERT_NO_FATAL_FAILURE(Fill(*kept, content));
  std::filesystem::remove_all(directory_.Path());
  ExpectWholeFile(*kept, content);
  const auto other = origin_->Put("b", content);
  EXPECT_TRUE(Eventually([&] {
    const auto file = Open(other);
    return ReadAt(*file, 0, content.size()) && file->OpenComplete().has_value();
  }));
  EXPECT_EQ(directory_.Files(".data").size(), 1U);
  EXPECT_EQ(reader_->Stats().cached_objects, 1U);
  EXPECT_TRUE(reader_->Stats().cache_usable);
  // And it is held as the first one was.
  platform::Metrics metrics;
  EXPECT_FALSE(Reader::Start(options_, metrics, log_)->Stats().cache_usable);
}

// As when a disk with an older cache on it is mounted over the directory late.
TEST_F(NodeCacheTest, FileOfAnotherDirectoryIsNotTakenForOneThatWasStored) {
  StartReader();
  const Content content = MakeContent(512 * kKiB, 1);
  origin_->SetPace(256 * kKiB, std::chrono::milliseconds(500));
  const auto file = Open(origin_->Put("a", content));
  std::jthread reading([&] { ExpectWholeFile(*file, content); });
  ASSERT_TRUE(Eventually([&] { return file->CachedBytes() == 256 * kKiB; }));
  const TempDirectory aside;
  const auto objects = directory_.Path() / "objects";
  std::filesystem::copy(objects, aside.Path() / "copy");
  std::filesystem::rename(objects, aside.Path() / "first");
  std::filesystem::rename(aside.Path() / "copy", objects);
  reading.join();
  // Whenever it is handed out from now on, all of it is there.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < end) {
    ExpectWholeFile(*file, content);
    if (const auto whole = file->OpenComplete(); whole) {
      Content stored(content.size());
      ASSERT_EQ(::pread(whole->Get(), stored.data(), stored.size(), 0),
                static_cast<ssize_t>(stored.size()));
      ASSERT_TRUE(stored == content);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

TEST_F(NodeCacheTest, SecondProcessPassesByUntilTheFirstIsGone) {
  StartReader();
  platform::Metrics metrics;
  const auto second = Reader::Start(options_, metrics, log_);
  EXPECT_FALSE(second->Stats().cache_usable);
  const Content content = MakeContent(2 * kMiB, 1);
  const auto object = origin_->Put("a", content);
  ExpectWholeFile(*second->Open(source_, object), content);
  reader_.reset();
  EXPECT_TRUE(Eventually([&] { return second->Stats().cache_usable; }));
}

TEST_F(NodeCacheTest, ChangedObjectIsDroppedFromTheCache) {
  const Content old_content = MakeContent(64 * kMiB, 1);
  const auto old_object = origin_->Put("a", old_content);
  StartReader();
  const auto file = Open(old_object);
  ExpectBytes(*file, old_content, 0, kMiB);
  EXPECT_TRUE(Eventually([&] { return reader_->Stats().cached_bytes >= kMiB; }));
  const Content new_content = MakeContent(64 * kMiB, 2);
  const auto new_object = origin_->Put("a", new_content);
  EXPECT_EQ(ReadAt(*file, 50 * kMiB, 10).error().code, Code::kConflict);
  EXPECT_TRUE(Eventually([&] { return directory_.Files(".part").empty(); }));
  const auto fresh = Open(new_object);
  ExpectBytes(*fresh, new_content, 0, 2 * kMiB);
  EXPECT_FALSE(fresh->Stale());
}

TEST_F(NodeCacheTest, AnySequenceOfReadsEvictionsFaultsAndRestartsGivesTheBytesOfTheOrigin) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  options_.quota_bytes = 12 * kMiB;
  options_.memory_budget_bytes = 24 * kMiB;
  std::map<std::string, Content> contents;
  std::map<std::string, OriginObject> objects;
  const auto put = [&](const std::string& name) {
    contents[name] = MakeContent(random() % (9 * kMiB) + 1, random());
    objects[name] = origin_->Put(name, contents[name]);
  };
  for (const char* name : {"a", "b", "c", "d"}) put(name);
  std::atomic<unsigned> fault_in = 50;
  origin_->SetScript([&](const auto& read) -> std::optional<FakeOrigin::Fault> {
    if (fault_in-- != 0) return std::nullopt;
    fault_in = 20;
    return FakeOrigin::Fault{{Code::kUnavailable, "scripted"}, read.length / 2};
  });
  StartReader();
  for (int step = 0; step < 400; ++step) {
    const std::string name(1, static_cast<char>('a' + random() % 4));
    const auto dice = random() % 100;
    if (dice == 0) Restart();
    if (dice == 1) put(name);
    if (dice == 2) {  // damage
      const auto files = directory_.Files(random() % 2 == 0 ? ".part" : ".data");
      if (!files.empty()) FlipByte(files[random() % files.size()], random() % 1000);
    }
    const auto file = Open(objects[name]);
    const Content& content = contents[name];
    const std::uint64_t offset = random() % content.size();
    ASSERT_NO_FATAL_FAILURE(ExpectBytes(*file, content, offset, random() % (3 * kMiB) + 1));
  }
}

}  // namespace
}  // namespace sluice::cache
