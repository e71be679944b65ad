#include "pins.h"

#include <gtest/gtest.h>

#include "fake_origin.h"
#include "make_index.h"

namespace sluice::fuse_client {
namespace {

OriginObject Listed(std::string path) { return {std::move(path), 1, "v1", {}}; }

// Two mounts, at the root's "models" and "sets", of the same origin's objects.
class PinsTest : public ::testing::Test {
 protected:
  PinsTest() {
    for (const char* const path : {"models", "sets"}) {
      MountListing listing{path, source_->Identity(), {}};
      for (const char* const name :
           {"a/tokenizer.json", "a/weights", "b/weights", "tokenizer.json"}) {
        listing.listing.objects.push_back(Listed(name));
      }
      listings_.push_back(std::move(listing));
      mounts_.push_back({path, source_});
    }
  }

  cache::PinSet Pinned(const std::vector<std::string>& paths) {
    cache::PinSet pinned = PinnedObjects(*MakeIndex(listings_), mounts_, paths);
    pinned.Seal();
    return pinned;
  }
  cache::PinSet Objects(std::initializer_list<const char*> paths) {
    cache::PinSet pinned;
    for (const char* const path : paths) pinned.Add(source_->Identity(), Listed(path));
    pinned.Seal();
    return pinned;
  }

  std::shared_ptr<cache::ChunkSource> source_ =
      cache::SourceOf(std::make_shared<testing::FakeOrigin>());
  std::vector<MountListing> listings_;
  std::vector<MountSource> mounts_;
};

TEST_F(PinsTest, DirectoryMeansAllBelowIt) {
  EXPECT_EQ(Pinned({"/models/a/"}), Objects({"a/tokenizer.json", "a/weights"}));
}

TEST_F(PinsTest, PatternsAddUp) {
  EXPECT_EQ(Pinned({"sets/b", "*/tokenizer.json"}), Objects({"b/weights", "tokenizer.json"}));
}

TEST_F(PinsTest, AnyDepth) {
  EXPECT_EQ(Pinned({"sets/**/tokenizer.json"}), Objects({"a/tokenizer.json", "tokenizer.json"}));
}

TEST_F(PinsTest, WhatIsNotThereIsNoError) { EXPECT_EQ(Pinned({"sets/c", "weights"}), Objects({})); }

}  // namespace
}  // namespace sluice::fuse_client
