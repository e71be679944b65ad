#include "object_index.h"

#include <gtest/gtest.h>

#include "crc32c.h"
#include "geometry.h"

namespace sluice::cache {
namespace {

const CacheKey kKey{"s3://bucket/prefix", "models/weights.safetensors", "\"etag\"",
                    10 * kBlockBytes};

ByteBuffer Index(const std::vector<BlockRecord>& records) {
  ByteBuffer bytes = EncodeIndexHeader(kKey);
  for (const BlockRecord& record : records) {
    const auto encoded = EncodeRecord(kKey, record);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  }
  return bytes;
}

TEST(ObjectIndexTest, DecodesWhatItEncoded) {
  const auto bytes = Index({{0, 7}, {9, 0xffffffffU}});
  const auto index = DecodeIndex(bytes);
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ(index->key, kKey);
  ASSERT_EQ(index->records.size(), 2U);
  EXPECT_EQ(index->records[1].block, 9U);
  EXPECT_EQ(index->records[1].crc, 0xffffffffU);
  EXPECT_EQ(index->append_at, bytes.size());
}

TEST(ObjectIndexTest, NoTruncationIsBelievedBeyondItsRecords) {
  const auto whole = Index({{0, 7}, {1, 8}});
  const std::size_t header = EncodeIndexHeader(kKey).size();
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto index = DecodeIndex(std::span(whole).first(n));
    EXPECT_EQ(index.has_value(), n >= header) << n;
    if (!index) continue;
    EXPECT_EQ(index->records.size(), (n - header) / 12);
    // What was torn will be written over.
    EXPECT_EQ(index->append_at, header + (n - header) / 12 * 12);
  }
}

TEST(ObjectIndexTest, NoFlippedBitIsBelieved) {
  const auto whole = Index({{3, 7}});
  const std::size_t header = EncodeIndexHeader(kKey).size();
  for (std::size_t i = 0; i < whole.size() * 8; ++i) {
    auto bytes = whole;
    bytes[i / 8] ^= static_cast<std::byte>(1U << (i % 8));
    const auto index = DecodeIndex(bytes);
    if (i / 8 < header) {
      EXPECT_FALSE(index.has_value()) << i;
    } else {
      ASSERT_TRUE(index.has_value());
      EXPECT_TRUE(index->records.empty()) << i;
    }
  }
}

TEST(ObjectIndexTest, RecordOfAnotherObjectIsNotBelieved) {
  CacheKey other = kKey;
  other.version = "\"newer\"";
  auto bytes = EncodeIndexHeader(kKey);
  const auto record = EncodeRecord(other, {3, 7});
  bytes.insert(bytes.end(), record.begin(), record.end());
  EXPECT_TRUE(DecodeIndex(bytes)->records.empty());
}

TEST(ObjectIndexTest, SizeThatCannotBeCutIntoBlocksIsNotBelieved) {
  CacheKey key = kKey;
  key.size = kMostObjectBytes;
  EXPECT_TRUE(DecodeIndex(EncodeIndexHeader(key)));
  for (const std::uint64_t size : {kMostObjectBytes + 1, std::uint64_t{UINT64_MAX}}) {
    key.size = size;
    EXPECT_FALSE(DecodeIndex(EncodeIndexHeader(key))) << size;
  }
}

TEST(ObjectIndexTest, HeaderWithMoreThanTheKeyIsNotBelieved) {
  // Checksums right all over, so only the key itself can tell.
  CacheKey longer = kKey;
  longer.version += "more";
  ByteBuffer bytes = EncodeIndexHeader(longer);
  const std::size_t length_at = bytes.size() - 4 - longer.version.size() - 4;
  bytes[length_at] = static_cast<std::byte>(kKey.version.size());
  const std::uint32_t crc = Crc32c(std::span(bytes).subspan(12, bytes.size() - 16));
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[bytes.size() - 4 + i] = static_cast<std::byte>(crc >> (8 * i));
  }
  EXPECT_FALSE(DecodeIndex(bytes));
}

TEST(ObjectIndexTest, RecordBehindTheEndIsNotBelieved) {
  EXPECT_TRUE(DecodeIndex(Index({{10, 7}}))->records.empty());
}

TEST(ObjectIndexTest, FileNameDependsOnEveryPartOfTheKey) {
  const std::string name = CacheFileName(kKey);
  EXPECT_EQ(name.size(), 40U);
  EXPECT_EQ(name, CacheFileName(kKey));
  std::vector<CacheKey> others(4, kKey);
  others[0].identity += "x";
  others[1].path += "x";
  others[2].version += "x";
  others[3].size += 1;
  // The border between two parts counts too.
  CacheKey moved = kKey;
  moved.identity += "m";
  moved.path = moved.path.substr(1);
  others.push_back(moved);
  for (const CacheKey& other : others) EXPECT_NE(name, CacheFileName(other));
}

}  // namespace
}  // namespace sluice::cache
