#include "wire.h"

#include <cstring>

#include <gtest/gtest.h>

namespace sluice::fuse_client {
namespace {

constexpr std::uint32_t kInitExtension = 1U << 30;

// An INIT request of kernel 6.18's shape.
std::vector<std::byte> Request(std::uint32_t flags, std::uint32_t flags2, std::size_t body = 64) {
  std::vector<std::uint32_t> words(16);
  words[0] = 7;
  words[1] = 45;
  words[3] = flags;
  words[4] = flags2;
  std::vector<std::byte> out(sizeof(RequestHeader) + body);
  std::memcpy(out.data() + sizeof(RequestHeader), words.data(), std::min<std::size_t>(body, 64));
  return out;
}

std::uint32_t Word(const std::vector<std::byte>& bytes, std::size_t offset) {
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data() + offset, 4);
  return word;
}

TEST(InitReplyTest, AddsWhatTheKernelOffers) {
  const auto request = Request(kInitExtension | 1U << 18 | 1U << 22, 1U << 5 | 1U << 7);
  EXPECT_TRUE(OffersPassthrough(request));
  const auto reply = PatchInitReply(request, std::vector<std::byte>(64), {});
  EXPECT_EQ(Word(reply, 12), kInitExtension | 1U << 18 | 1U << 22);
  EXPECT_EQ(Word(reply, 32), 1U << 5 | 1U << 7);
  EXPECT_EQ(Word(reply, 36), 1U) << "stack depth";
  EXPECT_EQ(Word(reply, 20), 4096U) << "max_write";
  EXPECT_EQ(Word(reply, 16), 128U | 96U << 16) << "background, congestion";
  EXPECT_EQ(Word(reply, 28) & 0xffff, 1024U) << "max_pages";
}

TEST(InitReplyTest, AsksForNothingThatAnOldKernelDoesNotOffer) {
  const auto reply = PatchInitReply(Request(1U << 18, 0xffffffff), std::vector<std::byte>(64), {});
  EXPECT_FALSE(OffersPassthrough(Request(1U << 18, 0xffffffff))) << "no INIT_EXT: flags2 is noise";
  EXPECT_EQ(Word(reply, 12), 1U << 18);
  EXPECT_EQ(Word(reply, 32), 0U);
  EXPECT_EQ(Word(reply, 36), 0U);
  EXPECT_EQ(Word(reply, 28) & 0xffff, 0U);
  EXPECT_FALSE(OffersPassthrough(Request(kInitExtension, 1U << 5, 16))) << "short request";
}

TEST(InitReplyTest, LeavesPassthroughOutWhenItIsOff) {
  const auto reply = PatchInitReply(Request(kInitExtension, 1U << 5 | 1U << 7),
                                    std::vector<std::byte>(64), {.passthrough = false});
  EXPECT_EQ(Word(reply, 32), 1U << 7);
  EXPECT_EQ(Word(reply, 36), 0U);
}

TEST(InitReplyTest, WhereThereIsWritingAWriteIsAMebibyte) {
  const auto reply =
      PatchInitReply(Request(kInitExtension, 0), std::vector<std::byte>(64), {.writing = true});
  EXPECT_EQ(Word(reply, 20), 1U << 20);
}

TEST(InitReplyTest, ShortBodiesComeBackUnchanged) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{24}, std::size_t{63}}) {
    EXPECT_EQ(PatchInitReply(Request(~0U, ~0U), std::vector<std::byte>(size), {}),
              std::vector<std::byte>(size));
  }
  EXPECT_EQ(PatchInitReply({}, std::vector<std::byte>(64), {}), std::vector<std::byte>(64));
}

}  // namespace
}  // namespace sluice::fuse_client
