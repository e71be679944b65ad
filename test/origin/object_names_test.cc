#include "object_names.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::origin {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<OriginObject> Named(const std::vector<std::string>& paths) {
  std::vector<OriginObject> objects;
  for (const std::string& path : paths) {
    OriginObject object;
    object.path = path;
    object.size = objects.size();
    objects.push_back(std::move(object));
  }
  return objects;
}

std::vector<std::string> Paths(const Listing& listing) {
  std::vector<std::string> paths;
  for (const OriginObject& object : listing.objects) paths.push_back(object.path);
  return paths;
}

TEST(ObjectNamesTest, TellsFilePathsFromOthers) {
  for (const std::string& path :
       {std::string("a"), std::string("a/b"), std::string("..."), std::string(".a/..b"),
        std::string("new\nline"), std::string("\x01\xff"), std::string(255, 'x'),
        std::string("a b+c%2F\\")}) {
    EXPECT_TRUE(IsFilePath(path)) << path;
  }
  for (const std::string& path :
       {std::string(""), std::string("/a"), std::string("a/"), std::string("a//b"),
        std::string("."), std::string("a/../b"), std::string(".."), std::string("a\0b", 3),
        std::string(256, 'x'), "a/" + std::string(256, 'x') + "/b"}) {
    EXPECT_FALSE(IsFilePath(path)) << path;
  }
}

TEST(ObjectNamesTest, SortsAndSkips) {
  const Listing listing = MakeListing(Named({"b", "a/../c", "a", "..", "c//d"}));
  EXPECT_THAT(Paths(listing), ElementsAre("a", "b"));
  EXPECT_EQ(listing.skipped, 3U);
}

TEST(ObjectNamesTest, SkipsWhatIsTooLargeToBeTrue) {
  auto objects = Named({"a", "b", "c"});
  objects[0].size = kMostObjectBytes + 1;
  objects[1].size = UINT64_MAX;
  objects[2].size = kMostObjectBytes;
  const Listing listing = MakeListing(std::move(objects));
  EXPECT_THAT(Paths(listing), ElementsAre("c"));
  EXPECT_EQ(listing.skipped, 2U);
}

TEST(ObjectNamesTest, ADirectoryWinsOverAFileOfItsName) {
  const Listing listing =
      MakeListing(Named({"a", "a-b", "a.txt", "a/b", "a/b/c", "a/bc", "a0", "d/e/f", "d"}));
  EXPECT_THAT(Paths(listing), ElementsAre("a-b", "a.txt", "a/b/c", "a/bc", "a0", "d/e/f"));
  EXPECT_EQ(listing.skipped, 3U);
}

TEST(ObjectNamesTest, TheLastOfEqualNamesWins) {
  const Listing listing = MakeListing(Named({"a", "b", "a"}));
  EXPECT_THAT(Paths(listing), ElementsAre("a", "b"));
  EXPECT_EQ(listing.objects[0].size, 2U);
  EXPECT_EQ(listing.skipped, 1U);
}

TEST(ObjectNamesTest, AnEmptyListingIsFine) { EXPECT_THAT(Paths(MakeListing({})), IsEmpty()); }

}  // namespace
}  // namespace sluice::origin
