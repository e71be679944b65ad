#include "chunk_cipher.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pool_calls.h"

namespace sluice::pool {
namespace {

using test::Bytes;
using test::MakeBytes;
using testing::HasSubstr;
using testing::Not;

ChunkCipher::Key KeyOf(unsigned char first) {
  ChunkCipher::Key key{};
  key[0] = first;
  return key;
}

Bytes Seal(const ChunkCipher& cipher, const std::string& name, const Bytes& value,
           std::uint32_t checksum) {
  Bytes sealed(value.size() + ChunkCipher::kOverhead);
  EXPECT_TRUE(cipher.Seal(name, value, checksum, sealed));
  return sealed;
}
// A copy, so that the sealed one can be tried again.
std::optional<std::uint32_t> Open(const ChunkCipher& cipher, const std::string& name,
                                  Bytes sealed) {
  return cipher.Open(name, sealed);
}

TEST(ChunkCipherTest, WhatWasSealedComesBackInPlace) {
  const ChunkCipher cipher(KeyOf(1));
  for (const std::size_t size : {1UL, 15UL, 16UL, 17UL, 4096UL, 1UL << 20}) {
    const Bytes value = MakeBytes(size, size);
    Bytes sealed = Seal(cipher, "a:1", value, 0xfedcba98U);
    EXPECT_EQ(cipher.Open("a:1", sealed), 0xfedcba98U);
    EXPECT_TRUE(std::equal(value.begin(), value.end(), sealed.begin())) << size;
  }
}

TEST(ChunkCipherTest, NothingOfTheValueIsSeenNorWhetherItIsTheSame) {
  const ChunkCipher cipher(KeyOf(1));
  const Bytes value(4096, std::byte{'x'});
  const Bytes first = Seal(cipher, "a:1", value, 7);
  const Bytes second = Seal(cipher, "a:1", value, 7);
  EXPECT_NE(first, second);
  const Bytes part(8, std::byte{'x'});
  EXPECT_EQ(std::search(first.begin(), first.end(), part.begin(), part.end()), first.end());
}

TEST(ChunkCipherTest, AnyFlippedBitIsFound) {
  const ChunkCipher cipher(KeyOf(1));
  const Bytes sealed = Seal(cipher, "a:1", MakeBytes(40, 1), 7);
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    Bytes flipped = sealed;
    flipped[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_EQ(Open(cipher, "a:1", flipped), std::nullopt) << bit;
  }
  EXPECT_TRUE(Open(cipher, "a:1", sealed));
}

TEST(ChunkCipherTest, AValueIsWorthNothingUnderAnotherNameOrKeyOrCutOff) {
  const ChunkCipher cipher(KeyOf(1));
  const ChunkCipher other(KeyOf(2));
  const Bytes sealed = Seal(cipher, "a:1", MakeBytes(100, 1), 7);
  EXPECT_EQ(Open(cipher, "a:2", sealed), std::nullopt);
  EXPECT_EQ(Open(cipher, "", sealed), std::nullopt);
  EXPECT_EQ(Open(other, "a:1", sealed), std::nullopt);
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(Open(cipher, "a:1", Bytes(sealed.begin(), sealed.begin() + static_cast<long>(size))),
              std::nullopt)
        << size;
  }
}

TEST(ChunkCipherTest, RandomBytesAreNoValue) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const ChunkCipher cipher(KeyOf(1));
  for (std::uint64_t i = 0; i < 2'000; ++i) {
    EXPECT_EQ(Open(cipher, "a:1", MakeBytes(i % 97, seed + i)), std::nullopt);
  }
}

TEST(ChunkCipherTest, KeysAreToldApartByAnIdThatStaysWhatItIs) {
  EXPECT_EQ(ChunkCipher(KeyOf(1)).KeyId().size(), 16U);
  std::set<std::string> ids;
  for (unsigned char i = 0; i < 100; ++i) ids.insert(ChunkCipher(KeyOf(i)).KeyId());
  EXPECT_EQ(ids.size(), 100U);
  // Else clients of two versions would not find each other's chunks.
  EXPECT_EQ(ChunkCipher(KeyOf(0)).KeyId(), "0abc97d94b451371");
}

class ChunkKeyFileTest : public testing::TestWithParam<const char*> {
 protected:
  static Result<ChunkCipher::Key> Read(const std::string& text) {
    const std::string path = testing::TempDir() + "chunk-key-" + std::to_string(::getpid());
    std::ofstream(path) << text;
    auto key = ReadChunkKey(path);
    std::filesystem::remove(path);
    return key;
  }
};

TEST_F(ChunkKeyFileTest, HasTheKeyInItsFirstLine) {
  std::string digits;
  for (int i = 0; i < 32; ++i) digits += "0F";
  ChunkCipher::Key wanted{};
  wanted.fill(15);
  for (const char* end : {"", "\n", "\r\n", "\nmore\n"}) {
    const auto key = Read(digits + end);
    ASSERT_TRUE(key) << key.error().message;
    EXPECT_EQ(*key, wanted);
  }
}

TEST_P(ChunkKeyFileTest, IsRefusedByNameAndNeverShown) {
  const auto key = Read(GetParam());
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, Code::kPermissionDenied);
  EXPECT_THAT(key.error().message, HasSubstr("chunk-key-"));
  EXPECT_THAT(key.error().message, HasSubstr("64 hexadecimal digits"));
  EXPECT_THAT(key.error().message, Not(HasSubstr("abcdef")));
}

INSTANTIATE_TEST_SUITE_P(
    Table, ChunkKeyFileTest,
    testing::Values("", "\n", "abcdef",
                    "abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefa",
                    "abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcg",
                    "-bcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcd",
                    "abcdefabcdefabcdefabcdefabcdef\nabcdefabcdefabcdefabcdefabcdefabcd"));

TEST(ChunkKeyTest, AnAbsentFileIsNamed) {
  const auto key = ReadChunkKey("/no/such/key");
  ASSERT_FALSE(key);
  EXPECT_THAT(key.error().message, HasSubstr("/no/such/key"));
}

}  // namespace
}  // namespace sluice::pool
