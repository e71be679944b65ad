#include <cstring>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "make_index.h"
#include "siphash.h"

namespace sluice::fuse_client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

OriginObject Object(std::string path, std::string version = "v1", std::uint64_t size = 1) {
  OriginObject object;
  object.path = std::move(path);
  object.version = std::move(version);
  object.size = size;
  object.modified = std::chrono::system_clock::from_time_t(1000);
  return object;
}

MountListing Mount(std::string path, std::vector<OriginObject> objects) {
  MountListing mount{std::move(path), "s3://b", {}};
  mount.listing.objects = std::move(objects);
  return mount;
}

std::vector<IndexChange> Compare(const Index& before, const Index& after) {
  std::vector<IndexChange> changes;
  CompareIndexes(before, after, [&](IndexChange change) { changes.push_back(std::move(change)); });
  return changes;
}

// Every path, directories with a '/' at the end, in tree order.
std::vector<std::string> Paths(const Index& index) {
  std::vector<std::string> paths;
  for (std::uint32_t i = 1; i < index.size(); ++i) {
    paths.push_back(index.Path(i) + (index.Node(i).is_directory != 0 ? "/" : ""));
  }
  return paths;
}

std::uint64_t ResidentBytes() {
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * 4096;
}

std::optional<std::uint32_t> Walk(const Index& index, std::initializer_list<const char*> names) {
  std::optional<std::uint32_t> node = 0;
  for (const char* const name : names) {
    if (node) node = index.Child(*node, name);
  }
  return node;
}

TEST(IndexTest, MakesDirectoriesFromSlashes) {
  const auto index =
      MakeIndex({Mount("/", {Object("a/b/c", "v", 7), Object("a.txt"), Object("a/d")})});
  ASSERT_NE(index, nullptr);
  EXPECT_THAT(Paths(*index), ElementsAre("a/", "a.txt", "a/b/", "a/d", "a/b/c"));
  const auto file = Walk(*index, {"a", "b", "c"});
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(index->Node(*file).size, 7U);
  EXPECT_EQ(index->Version(*file), "v");
  EXPECT_EQ(index->Find(index->Node(*file).id), file);
  EXPECT_FALSE(Walk(*index, {"a", "b", "no"}).has_value());
  EXPECT_EQ(index->Totals().files, 3U);
  EXPECT_EQ(index->Totals().bytes, 9U);
}

TEST(IndexTest, FindsEveryNameWhateverItsBytes) {
  std::vector<OriginObject> objects;
  for (const char* const name :
       {"-", "a b", "new\nline", "\xff\xfe", "\x01", "é", "a-b", "a/x", "a.b", "a0", "..."}) {
    objects.push_back(Object(name));
  }
  const auto index = MakeIndex({Mount("/", objects)});
  ASSERT_NE(index, nullptr);
  for (const OriginObject& object : objects) {
    if (object.path == "a/x") continue;
    EXPECT_TRUE(index->Child(0, object.path)) << object.path;
  }
  EXPECT_TRUE(Walk(*index, {"a", "x"}).has_value());
  EXPECT_EQ(index->Totals().skipped, 0U);
}

TEST(IndexTest, SkipsWhatCannotBeAFileName) {
  const auto index = MakeIndex(
      {Mount("/", {Object("../x"), Object("a/../b"), Object("a//b"), Object("/a"), Object("b/"),
                   Object("."), Object(std::string("n\0l", 3)), Object(std::string(256, 'x')),
                   Object(std::string(255, 'y')), Object("")})});
  ASSERT_NE(index, nullptr);
  EXPECT_THAT(Paths(*index), ElementsAre(std::string(255, 'y')));
  EXPECT_EQ(index->Totals().skipped, 9U);
}

TEST(IndexTest, DirectoryHidesTheObjectOfItsName) {
  const auto index = MakeIndex({Mount("/", {Object("a"), Object("a/b")})});
  EXPECT_THAT(Paths(*index), ElementsAre("a/", "a/b"));
  EXPECT_EQ(index->Totals().skipped, 1U);
}

TEST(IndexTest, PlacesMountsAtTheirPathsAndLetsTheInnerOneWin) {
  const auto index =
      MakeIndex({Mount("/", {Object("x"), Object("data/m/hidden"), Object("data/own")}),
                 Mount("/data/m", {Object("seen")}), Mount("/empty", {})});
  ASSERT_NE(index, nullptr);
  EXPECT_THAT(Paths(*index),
              UnorderedElementsAre("x", "data/", "data/own", "data/m/", "data/m/seen", "empty/"));
  EXPECT_EQ(index->Node(*Walk(*index, {"data", "m", "seen"})).mount, 1U);
  EXPECT_EQ(index->Node(*Walk(*index, {"data", "own"})).mount, 0U);
  EXPECT_EQ(index->Totals().skipped, 1U);
}

TEST(IndexTest, FileInTheWayOfAMountGivesWay) {
  const auto index = MakeIndex({Mount("/", {Object("a"), Object("b"), Object("b/c/d")}),
                                Mount("/a", {Object("x")}), Mount("/b/c", {}), Mount("/a", {})});
  ASSERT_NE(index, nullptr);
  EXPECT_THAT(Paths(*index), ElementsAre("a/", "b/", "a/x", "b/c/"));
  EXPECT_EQ(index->Totals().skipped, 3U);
}

TEST(IndexTest, EqualNamesOfTwoMountsAreTheFirstOnes) {
  const auto index = MakeIndex({Mount("/", {Object("a", "first"), Object("a", "again")}),
                                Mount("/", {Object("a", "second"), Object("b")})});
  ASSERT_NE(index, nullptr);
  EXPECT_THAT(Paths(*index), ElementsAre("a", "b"));
  EXPECT_EQ(index->Version(1), "first");
  EXPECT_EQ(index->Totals().skipped, 2U);
}

TEST(IndexTest, EmptyOriginIsAnEmptyRoot) {
  const auto index = MakeIndex({Mount("/", {})});
  ASSERT_NE(index, nullptr);
  EXPECT_EQ(index->size(), 1U);
  EXPECT_EQ(index->Node(0).id, kRootId);
}

OriginObject Link(std::string path, std::string text) {
  OriginObject link = Object(std::move(path), std::move(text));
  link.size = link.version.size();
  link.kind = ObjectKind::kLink;
  return link;
}

TEST(IndexTest, ALinkHasItsTextAndCountsAsNoFile) {
  const auto index = MakeIndex({Mount("/", {Object("a/f", "v1", 7), Link("a/l", "f")})});
  ASSERT_NE(index, nullptr);
  const auto link = Walk(*index, {"a", "l"});
  ASSERT_TRUE(link.has_value());
  EXPECT_EQ(index->Node(*link).is_link, 1);
  EXPECT_EQ(index->Node(*link).is_directory, 0);
  EXPECT_EQ(index->Node(*link).size, 1U);
  EXPECT_EQ(index->Version(*link), "f");
  EXPECT_EQ(index->Totals().files, 1U);
  EXPECT_EQ(index->Totals().bytes, 7U);
  const auto none = MakeIndex({Mount("/", {Link("l", "")})});
  EXPECT_EQ(none->Totals().skipped, 1U);
  EXPECT_EQ(none->size(), 1U);
}

TEST(IndexTest, ALinkIsAnotherNodeThanTheFileInItsPlace) {
  const auto file = MakeIndex({Mount("/", {Object("l", "v1")})});
  const auto link = MakeIndex({Mount("/", {Link("l", "v1")})});
  const auto other = MakeIndex({Mount("/", {Link("l", "v2")})});
  EXPECT_EQ(Compare(*file, *link).size(), 1U);
  EXPECT_EQ(Compare(*link, *other).size(), 1U);
}

// What a client from before there were links has left is served still.
TEST(IndexTest, TakesOverABlockWithoutLinks) {
  auto bytes = std::make_shared<std::vector<std::byte>>(IndexBytes({Mount("/", {Object("f")})}));
  ASSERT_EQ(std::memcmp(bytes->data(), "SLINDEX2", 8), 0);
  std::memcpy(bytes->data(), "SLINDEX1", 8);
  EXPECT_TRUE(Index::FromBytes(*bytes, bytes));
  std::memcpy(bytes->data(), "SLINDEX3", 8);
  EXPECT_FALSE(Index::FromBytes(*bytes, bytes));
}

TEST(IndexTest, IdsDependOnWhatANodeIsAndOnNothingElse) {
  const auto before = MakeIndex({Mount("/", {Object("d/f"), Object("z")})});
  const auto after = MakeIndex({Mount("/", {Object("a"), Object("d/f"), Object("z", "v2")})});
  const auto id = [](const Index& index, std::initializer_list<const char*> names) {
    return index.Node(*Walk(index, names)).id;
  };
  EXPECT_EQ(id(*before, {"d"}), id(*after, {"d"}));
  EXPECT_EQ(id(*before, {"d", "f"}), id(*after, {"d", "f"}));
  EXPECT_NE(id(*before, {"z"}), id(*after, {"z"})) << "another version is another node";
}

TEST(IndexTest, DirectoryIsAsOldAsItsNewestObject) {
  OriginObject young = Object("d/e/young");
  young.modified = std::chrono::system_clock::from_time_t(5000);
  const auto index = MakeIndex({Mount("/", {Object("d/old"), young})});
  EXPECT_EQ(index->Node(*Walk(*index, {"d"})).modified_ns, 5'000'000'000'000);
}

TEST(IndexTest, ComparisonNamesEveryChangedEntryOnce) {
  const auto before = MakeIndex({Mount(
      "/", {Object("d/f"), Object("d/g"), Object("gone/x"), Object("same"), Object("was-file")})});
  const auto after = MakeIndex({Mount("/", {Object("d/f", "v2"), Object("d/g"), Object("d/new"),
                                            Object("same"), Object("was-file/now-directory")})});
  std::vector<std::pair<std::uint64_t, std::string>> changes;
  for (const IndexChange& change : Compare(*before, *after)) {
    changes.emplace_back(change.directory, change.name);
  }
  const std::uint64_t d = after->Node(*Walk(*after, {"d"})).id;
  using Change = std::pair<std::uint64_t, std::string>;
  EXPECT_THAT(changes, UnorderedElementsAre(Change{d, "f"}, Change{d, "new"},
                                            Change{kRootId, "gone"}, Change{kRootId, "was-file"}));
  EXPECT_THAT(Compare(*after, *after), IsEmpty());
}

TEST(IndexTest, DamagedBytesAreRefusedOrStayInside) {
  const auto bytes = IndexBytes({Mount("/", {Object("a/b"), Object("c/d/e"), Object("f")})});
  const unsigned seed = 7;
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    auto damaged = bytes;
    for (int i = 0; i < 3; ++i) {
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    }
    if (round % 5 == 0) damaged.resize(random() % damaged.size());
    const auto index = Index::FromBytes(damaged, nullptr);
    if (!index) continue;
    for (std::uint32_t i = 0; i < (*index)->size(); ++i) {
      (void)(*index)->Path(i);
      (void)(*index)->Version(i);
      (void)(*index)->Child(i, "d");
      (void)(*index)->Find((*index)->Node(i).id);
    }
  }
}

TEST(IndexTest, ManyFilesStaySorted) {
  std::vector<OriginObject> objects;
  for (int i = 0; i < 5000; ++i) objects.push_back(Object("dir/" + std::to_string(i)));
  const auto index = MakeIndex({Mount("/", objects)});
  ASSERT_NE(index, nullptr);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(Walk(*index, {"dir", std::to_string(i).c_str()}).has_value()) << i;
  }
}

// The figures of docs/fuse-state.md, for names and versions of usual lengths.
TEST(IndexTest, MillionObjectsTakeWhatTheDocumentSays) {
  constexpr std::uint64_t kObjects = 1'000'000;
  MountListing mount{"/", "s3://bucket", {}};
  for (std::uint64_t i = 0; i < kObjects; ++i) {
    mount.listing.objects.push_back(
        Object(fmt::format("train/shard-{:05}/sample-{:08}.jpg", i / 1000, i),
               fmt::format("{:032x}", i * 2654435761U)));
  }
  const std::uint64_t with_listing = ResidentBytes();
  std::vector<MountListing> mounts;
  mounts.push_back(std::move(mount));
  const IndexDraft draft(std::move(mounts));
  std::vector<std::byte> bytes(draft.bytes());
  draft.WriteTo(bytes);
  const std::uint64_t with_index = ResidentBytes();
  fmt::print("bytes per object: listing {}, index {}, resident for the index and its making {}\n",
             draft.memory() / kObjects, draft.bytes() / kObjects,
             (with_index - with_listing) / kObjects);
  EXPECT_LE(draft.memory(), 200 * kObjects);
  EXPECT_LE(draft.bytes(), 140 * kObjects);
  const auto index = Index::FromBytes(bytes, nullptr);
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ((*index)->Totals().files, kObjects);
  EXPECT_TRUE(Walk(**index, {"train", "shard-00999", "sample-00999999.jpg"}).has_value());
}

TEST(SipHashTest, MatchesThePublishedVectors) {
  std::string input;
  for (int i = 0; i < 15; ++i) input += static_cast<char>(i);
  EXPECT_EQ(SipHash(input), 0xa129ca6149be45e5U);
  EXPECT_EQ(SipHash(""), 0x726fdb47dd0e0e31U);
}

}  // namespace
}  // namespace sluice::fuse_client
