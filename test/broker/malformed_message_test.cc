#include <poll.h>

#include <random>
#include <vector>

#include <gmock/gmock.h>

#include "holder_fixture.h"
#include "message_socket.h"

namespace sluice::broker {
namespace {

using std::chrono::seconds;

class MalformedMessageTest : public HolderTest {
 protected:
  void SetUp() override {
    HolderTest::SetUp();
    ASSERT_TRUE(holder_->Add(Spec()).has_value());
  }
  // True when the holder closes the socket (and did not answer).
  static bool IsClosed(int socket) {
    pollfd wait = {socket, POLLIN, 0};
    if (::poll(&wait, 1, 5000) != 1) return false;
    char byte = 0;
    return ::recv(socket, &byte, 1, 0) == 0;
  }
  void ExpectHolderWorks() {
    auto client = Client::Connect(Socket(), In(seconds(5)));
    ASSERT_TRUE(client.has_value()) << client.error().message;
  }
};

template <typename T>
std::vector<std::byte> BytesOf(T message) {
  message.header.length = sizeof(T);
  message.header.type = static_cast<std::uint16_t>(T::kType);
  const auto bytes = std::as_bytes(std::span(&message, 1));
  return {bytes.begin(), bytes.end()};
}

TEST_F(MalformedMessageTest, EachClosesItsSocketOnly) {
  std::vector<std::vector<std::byte>> messages;
  messages.push_back({std::byte{1}});
  messages.push_back(std::vector<std::byte>(7));
  messages.push_back(std::vector<std::byte>(kMaxMessageBytes + 1, std::byte{0x41}));
  messages.push_back(BytesOf(ReadyMessage{}));        // before HELLO
  messages.push_back(BytesOf(BackingOpenMessage{}));  // before HELLO
  messages.push_back(BytesOf(DepositMessage{}));      // without descriptors
  messages.push_back(BytesOf(BundleMessage{}));       // the holder's own
  auto wrong_length = BytesOf(HelloMessage{});
  wrong_length[0] = std::byte{0xff};
  messages.push_back(wrong_length);
  auto wrong_version = BytesOf(HelloMessage{});
  wrong_version[6] = std::byte{9};
  messages.push_back(wrong_version);
  auto wrong_type = BytesOf(HelloMessage{});
  wrong_type[4] = std::byte{99};
  messages.push_back(wrong_type);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto socket = RawClient();
    ASSERT_TRUE(socket.Valid());
    ASSERT_GT(::send(socket.Get(), messages[i].data(), messages[i].size(), MSG_NOSIGNAL), 0);
    EXPECT_TRUE(IsClosed(socket.Get())) << "message " << i;
  }
  ExpectHolderWorks();
}

TEST_F(MalformedMessageTest, LongerMessageOfALaterVersionIsTaken) {
  const auto socket = RawClient();
  std::vector<std::byte> hello = BytesOf(HelloMessage{});
  hello.resize(hello.size() + 32);
  hello[0] = static_cast<std::byte>(hello.size());
  ASSERT_GT(::send(socket.Get(), hello.data(), hello.size(), 0), 0);
  pollfd wait = {socket.Get(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, 5000), 1);
  auto answer = Receive(socket.Get());
  ASSERT_TRUE(answer.has_value() && answer->has_value());
  EXPECT_EQ((*answer)->Type(), MessageType::kBundle);
}

TEST_F(MalformedMessageTest, ActiveClientThatTalksNonsenseLosesOnlyItsSocket) {
  for (int kind = 0; kind < 4; ++kind) {
    const auto socket = RawClient();
    ASSERT_TRUE(Send(socket.Get(), HelloMessage{}).has_value());
    pollfd wait = {socket.Get(), POLLIN, 0};
    ASSERT_EQ(::poll(&wait, 1, 5000), 1);
    {
      auto bundle = Receive(socket.Get());
      ASSERT_TRUE(bundle && bundle->has_value());
    }
    FailureMessage failure;
    failure.text_length = 0xffffffff;
    switch (kind) {
      case 0:
        ASSERT_TRUE(Send(socket.Get(), failure).has_value());
        break;
      case 1:
        ASSERT_TRUE(Send(socket.Get(), HelloMessage{}).has_value());  // twice
        break;
      case 2:
        ASSERT_TRUE(Send(socket.Get(), BackingOpenMessage{}).has_value());  // no descriptor
        break;
      default:
        ASSERT_TRUE(Send(socket.Get(), ReadyMessage{}, {socket.Get()}).has_value());
        break;
    }
    EXPECT_TRUE(IsClosed(socket.Get())) << kind;
  }
  ExpectHolderWorks();
}

TEST_F(MalformedMessageTest, RandomBytesNeverStopTheHolder) {
  const unsigned seed = 20240607;
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::size_t> size(1, 2100);
  std::uniform_int_distribution<int> byte(0, 255);
  for (int round = 0; round < 300; ++round) {
    const auto socket = RawClient();
    ASSERT_TRUE(socket.Valid()) << "round " << round << " seed " << seed;
    std::vector<std::byte> message(size(random));
    for (std::byte& b : message) b = static_cast<std::byte>(byte(random));
    if (message.size() >= 8 && round % 2 == 0) {  // a valid header in front
      const auto length = static_cast<std::uint32_t>(message.size());
      std::memcpy(message.data(), &length, 4);
      message[4] = static_cast<std::byte>(round % 10);
      message[5] = std::byte{0};
      message[6] = std::byte{1};
      message[7] = std::byte{0};
    }
    const int stray = round % 3 == 0 ? socket.Get() : -1;
    if (stray >= 0) {
      (void)SendBytes(socket.Get(), message, {stray, stray});
    } else {
      (void)SendBytes(socket.Get(), message, {});
    }
  }
  ExpectHolderWorks();
}

TEST_F(MalformedMessageTest, SilentClientsAreBoundedAndDoNotBlockOthersForEver) {
  std::vector<platform::UniqueFd> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(RawClient());
  silent.clear();
  ExpectHolderWorks();
}

}  // namespace
}  // namespace sluice::broker
