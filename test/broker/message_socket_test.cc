#include "message_socket.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

namespace sluice::broker {
namespace {

struct Pair {
  Pair() {
    int fds[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0) {
      a = platform::UniqueFd(fds[0]);
      b = platform::UniqueFd(fds[1]);
    }
  }
  platform::UniqueFd a, b;
};

TEST(MessageSocketTest, CarriesAMessageWithDescriptors) {
  const Pair pair;
  const platform::UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  BackingOpenMessage sent;
  sent.request_id = 7;
  sent.node_id = 99;
  ASSERT_TRUE(Send(pair.a.Get(), sent, {file.Get()}).has_value());
  auto received = Receive(pair.b.Get());
  ASSERT_TRUE(received && received->has_value());
  EXPECT_EQ((*received)->Type(), MessageType::kBackingOpen);
  EXPECT_FALSE((*received)->As<BackingOpenMessage>().has_value()) << "a descriptor came along";
  const auto message = (*received)->As<BackingOpenMessage>(1);
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->request_id, 7U);
  EXPECT_EQ(message->node_id, 99U);
  const auto fd = (*received)->TakeFd(0);
  EXPECT_NE(::fcntl(fd.Get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(MessageSocketTest, SaysNothingWhenNothingHasCome) {
  const Pair pair;
  const auto received = Receive(pair.b.Get());
  ASSERT_TRUE(received.has_value());
  EXPECT_FALSE(received->has_value());
}

TEST(MessageSocketTest, TellsAHangUpFromAMalformedMessage) {
  Pair pair;
  ASSERT_EQ(::send(pair.a.Get(), "xyz", 3, 0), 3);
  EXPECT_EQ(Receive(pair.b.Get()).error().code, Code::kInvalidArgument);
  pair.a.Reset();
  EXPECT_EQ(Receive(pair.b.Get()).error().code, Code::kUnavailable);
}

TEST(MessageSocketTest, WireCodesGoBothWays) {
  for (std::uint32_t number = 1; number <= 8; ++number) {
    EXPECT_EQ(WireCode(CodeFromWire(number)), number);
  }
  EXPECT_EQ(CodeFromWire(0), Code::kInternal);
  EXPECT_EQ(CodeFromWire(4711), Code::kInternal);
}

}  // namespace
}  // namespace sluice::broker
