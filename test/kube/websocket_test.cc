#include "websocket.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::kube::websocket {
namespace {

using testing::HasSubstr;

// An unmasked frame with the length in the shortest form.
std::string ServerFrame(int first, const std::string& payload) {
  std::string masked = EncodeFrame(Opcode::kBinary, payload, {0, 0, 0, 0});
  const std::size_t head = masked.size() - payload.size() - 4;
  masked[0] = static_cast<char>(first);
  masked[1] = static_cast<char>(masked[1] & 0x7f);
  return masked.substr(0, head) + payload;
}

constexpr int kWholeBinary = 0x82;

TEST(WebSocketTest, AcceptsTheExampleOfTheStandard) {
  const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";
  EXPECT_EQ(AcceptFor(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  auto head = ParseAnswerHead(
      "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: WebSocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\nSec-WebSocket-Protocol: b\r\n");
  ASSERT_TRUE(head);
  auto protocol = AcceptedProtocol(*head, key, {"a", "b"});
  ASSERT_TRUE(protocol);
  EXPECT_EQ(*protocol, "b");
  EXPECT_FALSE(AcceptedProtocol(*head, key, {"a"}));
  EXPECT_FALSE(AcceptedProtocol(*head, "other", {"b"}));
  EXPECT_THAT(UpgradeHeaders(key, {"a", "b"}), HasSubstr("Sec-WebSocket-Protocol: a, b\r\n"));
}

TEST(WebSocketTest, WhatIsNoHeadIsAnError) {
  for (const char* const head : {"", "HTTP/1.0 101 X\r\n", "HTTP/1.1 1 X\r\n", "HTTP/1.1 abc\r\n",
                                 "HTTP/1.1 1010 X\r\n", "\x82\x01z"}) {
    EXPECT_FALSE(ParseAnswerHead(head)) << head;
  }
}

TEST(WebSocketTest, FramesOfEveryLengthComeBack) {
  for (const std::size_t size : {0, 1, 125, 126, 127, 65535, 65536, 70000}) {
    const std::string payload(size, 'x');
    Decoder decoder(1U << 20);
    decoder.Append(ServerFrame(kWholeBinary, payload));
    auto message = decoder.Next();
    ASSERT_TRUE(message && *message) << size;
    EXPECT_EQ((*message)->payload, payload);
    auto more = decoder.Next();
    ASSERT_TRUE(more);
    EXPECT_FALSE(*more);
  }
}

TEST(WebSocketTest, ClientFramesAreMasked) {
  const std::string frame = EncodeFrame(Opcode::kPong, "ab", {1, 2, 3, 4});
  EXPECT_EQ(frame, std::string("\x8a\x82\x01\x02\x03\x04", 6) + char('a' ^ 1) + char('b' ^ 2));
}

TEST(WebSocketTest, PartsAreJoinedAroundControlMessages) {
  const std::string bytes = ServerFrame(0x02, "one ") + ServerFrame(0x89, "ping") +
                            ServerFrame(0x00, "two ") + ServerFrame(0x80, "three");
  Decoder decoder(1U << 20);
  std::vector<std::string> seen;
  for (const char byte : bytes) {
    decoder.Append({&byte, 1});
    auto message = decoder.Next();
    ASSERT_TRUE(message);
    if (*message) seen.push_back((*message)->payload);
  }
  EXPECT_THAT(seen, testing::ElementsAre("ping", "one two three"));
}

TEST(WebSocketTest, BrokenFramesAreErrorsForGood) {
  const std::string huge("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10);
  for (const std::string& bytes : {
           std::string("\xc2\x00", 2),                        // a reserved bit
           std::string("\x83\x00", 2),                        // an unknown opcode
           std::string("\x82\x80\x01\x02\x03\x04", 6),        // masked
           std::string("\x09\x00", 2),                        // a ping in parts
           ServerFrame(0x89, std::string(126, 'x')),          // a large ping
           ServerFrame(0x80, "x"),                            // a part of nothing
           ServerFrame(0x02, "x") + ServerFrame(0x82, "x"),   // a message within a message
           ServerFrame(kWholeBinary, std::string(101, 'x')),  // over the limit
           ServerFrame(0x02, std::string(60, 'x')) + ServerFrame(0x80, std::string(60, 'x')),
           huge,
       }) {
    Decoder decoder(100);
    decoder.Append(bytes);
    auto message = decoder.Next();
    ASSERT_FALSE(message) << testing::PrintToString(bytes.substr(0, 20));
    EXPECT_EQ(message.error().code, Code::kUnavailable);
    decoder.Append(ServerFrame(kWholeBinary, "x"));
    EXPECT_FALSE(decoder.Next());
  }
}

TEST(WebSocketTest, RandomBytesEndInAnErrorOrAWait) {
  std::mt19937 random(7);  // NOLINT: a fixed seed
  for (int round = 0; round < 2000; ++round) {
    Decoder decoder(64);
    for (int i = 0; i < 200; ++i) {
      const char byte = static_cast<char>(random());
      decoder.Append({&byte, 1});
      auto message = decoder.Next();
      if (!message) break;
      const std::size_t size = *message ? (*message)->payload.size() : 0;
      EXPECT_LE(size, 125U);
    }
  }
}

}  // namespace
}  // namespace sluice::kube::websocket
