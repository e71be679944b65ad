#include "reply.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "pool_calls.h"
#include "reply_stream.h"

namespace sluice::pool {
namespace {

using test::Bytes;
using test::MakeBytes;
using Kind = Reply::Kind;

TEST(ReplyTest, ReadsWhatMemcachedSays) {
  struct Case {
    std::string line;
    Reply reply;
  };
  const std::vector<Case> cases = {
      {"EN", {.kind = Kind::kMiss}},
      {"HD O12", {.kind = Kind::kDone, .opaque = 12}},
      {"HD ", {.kind = Kind::kDone}},
      {"NS", {.kind = Kind::kNotStored}},
      {"EX O1", {.kind = Kind::kExists, .opaque = 1}},
      {"NF", {.kind = Kind::kNotFound}},
      {"STORED", {.kind = Kind::kStored}},
      {"END", {.kind = Kind::kEnd}},
      {"STAT item_size_max 8388608", {.kind = Kind::kStatistic, .text = "item_size_max 8388608"}},
      {"CLIENT_ERROR unauthenticated", {.kind = Kind::kClientError, .text = "unauthenticated"}},
      {"SERVER_ERROR out of memory", {.kind = Kind::kServerError, .text = "out of memory"}},
      {"SERVER_ERROR", {.kind = Kind::kServerError}},
      {"VA 0 c5223 f0 s0 O3 W", {.kind = Kind::kValue, .cas = 5223, .opaque = 3, .won = true}},
      {"VA 0 c5223 f0 s0 O3 Z", {.kind = Kind::kValue, .cas = 5223, .opaque = 3}},
      {"VA 4194304 O3 s4194304 f4294967295 c18446744073709551615",
       {.kind = Kind::kValue,
        .length = 4'194'304,
        .client_flags = 4'294'967'295U,
        .cas = UINT64_MAX,
        .opaque = 3}},
      {"VA 5 X W k1 t-1", {.kind = Kind::kValue, .length = 5, .won = true}},
      {"VA 1073741824", {.kind = Kind::kValue, .length = kLongestValue}},
  };
  for (const Case& c : cases) {
    const auto reply = ParseReply(c.line);
    ASSERT_TRUE(reply) << c.line;
    EXPECT_EQ(reply->kind, c.reply.kind) << c.line;
    EXPECT_EQ(reply->length, c.reply.length) << c.line;
    EXPECT_EQ(reply->client_flags, c.reply.client_flags) << c.line;
    EXPECT_EQ(reply->cas, c.reply.cas) << c.line;
    EXPECT_EQ(reply->opaque, c.reply.opaque) << c.line;
    EXPECT_EQ(reply->won, c.reply.won) << c.line;
    EXPECT_EQ(reply->text, c.reply.text) << c.line;
  }
}

TEST(ReplyTest, RefusesEverythingElse) {
  for (const std::string& line : {std::string(),
                                  std::string(" "),
                                  std::string("ERROR"),
                                  std::string("va 5"),
                                  std::string("VA"),
                                  std::string("VA x"),
                                  std::string("VA -1"),
                                  std::string("VA +1"),
                                  std::string("VA 1073741825"),
                                  std::string("VA 18446744073709551616"),
                                  std::string("VA 99999999999999999999999999"),
                                  std::string("VA 5 s6"),
                                  std::string("VA 5 f4294967296"),
                                  std::string("VA 5 f-1"),
                                  std::string("VA 5 c"),
                                  std::string("VA 5 cx"),
                                  std::string("VA 5 Oabc"),
                                  std::string("VA 5 Wx"),
                                  std::string("HD O99999999999"),
                                  std::string("VALUE k 0 5"),
                                  std::string("HTTP/1.1 400"),
                                  std::string("HD\0", 3),
                                  std::string("\xff\xfe")}) {
    const auto reply = ParseReply(line);
    ASSERT_FALSE(reply) << line;
    EXPECT_EQ(reply.error().code, Code::kUnavailable);
  }
}

TEST(ReplyTest, QuotesForeignTextShortAndPrintable) {
  EXPECT_EQ(Printable("a\n\x1b[0m\xff"), "a??[0m?");
  EXPECT_EQ(Printable(std::string(5'000, 'x')).size(), 100U);
}

// Takes every value into a buffer of the size that is expected of the next one.
class Recorder final : public ReplyStream::Handler {
 public:
  Result<std::span<std::byte>> OnReply(const Reply& reply) override {
    events.push_back("reply " + std::to_string(static_cast<int>(reply.kind)));
    if (refuse) return Fail(Code::kUnavailable, "refused");
    if (reply.kind != Kind::kValue || reply.length != wanted.size()) return std::span<std::byte>();
    return std::span(wanted);
  }
  Status OnComplete() override {
    events.emplace_back("complete");
    if (!wanted.empty()) values.push_back(wanted);
    return Ok();
  }

  Bytes wanted;
  bool refuse = false;
  std::vector<std::string> events;
  std::vector<Bytes> values;
};

// Gives the stream at most `most` bytes at a time, as a socket would.
Status Feed(ReplyStream& stream, std::string_view bytes, std::size_t most) {
  while (!bytes.empty()) {
    const ReplyStream::Room room = stream.NextRoom();
    std::size_t given = 0;
    for (const std::span<std::byte> part : {room.value, room.lines}) {
      const std::size_t count = std::min({part.size(), bytes.size(), most - given});
      if (count > 0) std::memcpy(part.data(), bytes.data(), count);
      bytes.remove_prefix(count);
      given += count;
      if (count < part.size()) break;
    }
    if (given == 0) return Fail(Code::kInternal, "no room");
    if (auto status = stream.Received(given); !status) return status;
  }
  return Ok();
}

std::string Text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(ReplyStreamTest, GivesTheSameHoweverTheBytesCome) {
  const Bytes value = MakeBytes(3'000, 1);
  const std::string one = "VA 3000 O1\r\n" + Text(value) + "\r\n";
  const std::string all = "EN\r\n" + one + "HD O2\r\nVA 0 O3 W\r\n\r\n" + one + one;
  for (const std::size_t most : {1U, 2U, 3U, 7U, 100U, 1'000U, 1'024U, 3'005U, 4'000U, 100'000U}) {
    Recorder recorder;
    recorder.wanted.resize(value.size());
    ReplyStream stream(recorder);
    ASSERT_TRUE(Feed(stream, all, most)) << most;
    EXPECT_EQ(recorder.events.size(), 12U) << most;
    ASSERT_EQ(recorder.values.size(), 6U) << most;
    for (const std::size_t i : {1U, 4U, 5U}) EXPECT_EQ(recorder.values[i], value) << most;
  }
}

TEST(ReplyStreamTest, ThrowsAwayWhatNobodyWants) {
  const Bytes value = MakeBytes(200'000, 1);
  const std::string all = "VA 200000 O1\r\n" + Text(value) + "\r\nHD\r\n";
  for (const std::size_t most : {1'000U, 65'536U, 1'000'000U}) {
    Recorder recorder;
    ReplyStream stream(recorder);
    ASSERT_TRUE(Feed(stream, all, most)) << most;
    EXPECT_EQ(recorder.events,
              (std::vector<std::string>{"reply 0", "complete", "reply 2", "complete"}));
  }
}

TEST(ReplyStreamTest, EndsAtWhatIsNotTheProtocol) {
  struct Case {
    std::string name;
    std::string bytes;
  };
  const std::vector<Case> cases = {
      {"garbage", "\x16\x03\x01\r\n"},
      {"no carriage return", "EN\n"},
      {"an empty line", "\r\n"},
      {"only a line end", "\n"},
      {"a line that never ends", std::string(ReplyStream::kLongestLine, 'x')},
      {"a value that is longer than said", "VA 3 O1\r\nabcd\r\n"},
      {"a value that is shorter than said", "VA 5 O1\r\nabc\r\nEN\r\n"},
  };
  for (const Case& c : cases) {
    for (const std::size_t most : {1U, 5U, 2'000U}) {
      Recorder recorder;
      ReplyStream stream(recorder);
      const auto status = Feed(stream, c.bytes, most);
      ASSERT_FALSE(status) << c.name;
      EXPECT_EQ(status.error().code, Code::kUnavailable) << c.name;
    }
  }
}

TEST(ReplyStreamTest, LinesAsLongAsAllowedPass) {
  Recorder recorder;
  ReplyStream stream(recorder);
  const std::string start = "SERVER_ERROR ";
  const std::string text(ReplyStream::kLongestLine - start.size() - 2, 'x');
  EXPECT_TRUE(Feed(stream, start + text + "\r\nEN\r\n", 10'000));
  EXPECT_EQ(recorder.events.size(), 4U);
}

TEST(ReplyStreamTest, PassesOnWhatTheHandlerRefuses) {
  Recorder recorder;
  recorder.refuse = true;
  ReplyStream stream(recorder);
  EXPECT_EQ(Feed(stream, "EN\r\nEN\r\n", 100).error().message, "refused");
  EXPECT_EQ(recorder.events.size(), 1U);
}

TEST(ReplyStreamTest, NoBytesWhateverMakeItReadOutsideItsBuffers) {
  std::mt19937 random(20261126);
  const std::string_view alphabet = "VAENHDO123 \r\n\r\nsfcWZ\0x";
  for (int round = 0; round < 2'000; ++round) {
    std::string bytes;
    for (std::size_t i = random() % 400; i-- > 0;) {
      bytes += random() % 10 == 0 ? std::string("VA 3 O1\r\nabc\r\n")
                                  : std::string(1, alphabet[random() % alphabet.size()]);
    }
    Recorder recorder;
    recorder.wanted.resize(3);
    ReplyStream stream(recorder);
    (void)Feed(stream, bytes, 1 + random() % 50);
    EXPECT_LE(recorder.values.size(), bytes.size());
  }
}

}  // namespace
}  // namespace sluice::pool
