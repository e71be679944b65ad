#include "cache_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "object_index.h"

namespace sluice::cache {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

OriginObject Object(const std::string& path) { return {path, 10, "v", {}}; }
std::string NameOf(const std::string& path) { return CacheFileName({"id", path, "v", 10}); }

PinSet Pins(std::initializer_list<const char*> paths) {
  PinSet pins;
  for (const char* const path : paths) pins.Add("id", Object(path));
  return pins;
}

class CacheItemsTest : public ::testing::Test {
 protected:
  // Of 10 bytes each, in this order of use.
  void Add(std::initializer_list<const char*> paths) {
    for (const char* const path : paths) {
      items_.Use(NameOf(path));
      items_.Charge(NameOf(path), 10);
    }
  }

  CacheItems items_;
};

TEST_F(CacheItemsTest, TheLeastRecentlyUsedGoFirst) {
  Add({"a", "b", "c"});
  items_.Use(NameOf("a"));
  EXPECT_THAT(items_.TakeVictims(15), ElementsAre(NameOf("b"), NameOf("c")));
  EXPECT_EQ(items_.Bytes(), 10U);
  EXPECT_EQ(items_.Find(NameOf("b")), nullptr);
}

TEST_F(CacheItemsTest, NoMoreGoThanAreAllowedAtATime) {
  Add({"a", "b", "c"});
  EXPECT_THAT(items_.TakeVictims(0, 1), ElementsAre(NameOf("a")));
}

TEST_F(CacheItemsTest, PinnedOnesStayWhateverIsWanted) {
  Add({"a", "b"});
  items_.Pin(Pins({"a", "c"}));
  Add({"c"});
  EXPECT_EQ(items_.PinnedBytes(), 20U);
  EXPECT_THAT(items_.TakeVictims(0), ElementsAre(NameOf("b")));
  EXPECT_THAT(items_.TakeVictims(0), IsEmpty());
  items_.Pin(Pins({"c"}));
  EXPECT_EQ(items_.PinnedBytes(), 10U);
  EXPECT_THAT(items_.TakeVictims(0), ElementsAre(NameOf("a")));
}

TEST_F(CacheItemsTest, BytesFollowWhatIsChargedAndRefunded) {
  items_.Pin(Pins({"a"}));
  Add({"a", "b"});
  items_.Refund(NameOf("a"), 4);
  items_.Charge("nobody", 7);
  EXPECT_EQ(items_.Bytes(), 16U);
  EXPECT_EQ(items_.PinnedBytes(), 6U);
  items_.Refund(NameOf("b"), UINT64_MAX);
  items_.Erase(NameOf("a"));
  EXPECT_EQ(items_.Bytes(), 0U);
  EXPECT_EQ(items_.PinnedBytes(), 0U);
  EXPECT_EQ(items_.Count(), 1U);
}

}  // namespace
}  // namespace sluice::cache
