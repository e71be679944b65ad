// The channel against a socket pair that stands for the kernel: whole messages both ways.
#include "device_channel.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::fuse_client {
namespace {

constexpr std::uint32_t kLookup = 1;
constexpr std::uint32_t kDestroy = 38;

struct Kernel {
  Kernel() {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
      own = platform::UniqueFd(ends[0]);
      device = platform::UniqueFd(ends[1]);
    }
    const timeval limit = {.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(own.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ::setsockopt(device.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }
  void Send(std::uint32_t opcode, std::uint64_t unique, std::size_t body = 16) const {
    std::vector<std::byte> message(sizeof(RequestHeader) + body);
    RequestHeader header;
    header.length = static_cast<std::uint32_t>(message.size());
    header.opcode = opcode;
    header.unique = unique;
    std::memcpy(message.data(), &header, sizeof(header));
    ASSERT_EQ(::send(own.Get(), message.data(), message.size(), 0),
              static_cast<ssize_t>(message.size()));
  }
  [[nodiscard]] ReplyHeader Receive() const {
    std::byte buffer[4096];
    ReplyHeader header;
    const ssize_t n = ::recv(own.Get(), buffer, sizeof(buffer), 0);
    if (n >= static_cast<ssize_t>(sizeof(header))) std::memcpy(&header, buffer, sizeof(header));
    return header;
  }
  [[nodiscard]] bool Silent() const {
    char byte = 0;
    return ::recv(own.Get(), &byte, 1, MSG_DONTWAIT) < 0;
  }
  platform::UniqueFd own, device;
};

class DeviceChannelTest : public testing::Test {
 protected:
  std::unique_ptr<StateFile> Attach() {
    return std::move(*StateFile::Attach(platform::UniqueFd(::dup(memory_.Get()))));
  }
  std::unique_ptr<DeviceChannel> Channel(StateFile& state) {
    return std::make_unique<DeviceChannel>(kernel_.device.Get(), state, InitPolicy{}, metrics_,
                                           log_);
  }
  static RequestHeader Read(DeviceChannel& channel) {
    std::byte buffer[kSlotBytes];
    RequestHeader header;
    const ssize_t n = channel.Read(buffer, sizeof(buffer));
    EXPECT_GE(n, static_cast<ssize_t>(sizeof(header)));
    if (n > 0) std::memcpy(&header, buffer, sizeof(header));
    return header;
  }
  static ssize_t Reply(DeviceChannel& channel, std::uint64_t unique, std::size_t body = 0) {
    std::vector<std::byte> bytes(body);
    ReplyHeader header;
    header.length = static_cast<std::uint32_t>(sizeof(header) + body);
    header.unique = unique;
    const iovec pieces[2] = {{&header, sizeof(header)}, {bytes.data(), body}};
    return channel.Write(pieces, body == 0 ? 1 : 2);
  }
  // A client that has said INIT.
  void Initialize(DeviceChannel& channel) {
    kernel_.Send(static_cast<std::uint32_t>(Opcode::kInit), 2, 64);
    EXPECT_EQ(Read(channel).unique, 2U);
    EXPECT_EQ(Reply(channel, 2, 64), 80);
    EXPECT_EQ(kernel_.Receive().unique, 2U);
  }

  Kernel kernel_;
  platform::UniqueFd memory_{::memfd_create("test", MFD_CLOEXEC)};
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
};

TEST_F(DeviceChannelTest, SuccessorIsFedTheSavedInitAndKeepsItToItself) {
  {
    auto state = Attach();
    Initialize(*Channel(*state));
  }
  auto state = Attach();
  auto channel = Channel(*state);
  EXPECT_EQ(Read(*channel).opcode, static_cast<std::uint32_t>(Opcode::kInit));
  EXPECT_EQ(Reply(*channel, 2, 64), 80) << "libfuse believes that it was sent";
  EXPECT_TRUE(kernel_.Silent());
}

TEST_F(DeviceChannelTest, InitThatWasReadAndNotAnsweredIsAnsweredByTheSuccessor) {
  {
    auto state = Attach();
    auto channel = Channel(*state);
    kernel_.Send(static_cast<std::uint32_t>(Opcode::kInit), 2, 64);
    Read(*channel);
  }
  auto state = Attach();
  auto channel = Channel(*state);
  EXPECT_EQ(Read(*channel).unique, 2U);
  Reply(*channel, 2, 64);
  EXPECT_EQ(kernel_.Receive().unique, 2U);
}

TEST_F(DeviceChannelTest, WhatAKilledClientOwedIsReplayedOldestFirstThenResent) {
  {
    auto state = Attach();
    auto channel = Channel(*state);
    Initialize(*channel);
    for (const std::uint64_t unique : {4U, 6U, 8U}) kernel_.Send(kLookup, unique);
    for (int i = 0; i < 3; ++i) Read(*channel);
    Reply(*channel, 6);
    EXPECT_EQ(kernel_.Receive().unique, 6U);
    EXPECT_EQ(channel->InFlight(), 2U);
  }
  auto state = Attach();
  auto channel = Channel(*state);
  Read(*channel);  // INIT
  Reply(*channel, 2, 64);
  EXPECT_EQ(Read(*channel).unique, 4U);
  EXPECT_EQ(Read(*channel).unique, 8U);
  Reply(*channel, 8);
  Reply(*channel, 4);
  EXPECT_EQ(kernel_.Receive().unique, 8U);
  EXPECT_EQ(kernel_.Receive().unique, 4U);
  kernel_.Send(kLookup, 10);
  EXPECT_EQ(Read(*channel).unique, 10U);
  const ReplyHeader resend = kernel_.Receive();
  EXPECT_EQ(resend.unique, 0U);
  EXPECT_EQ(resend.error, kNotifyResend);
  EXPECT_THAT(metrics_.Render(), testing::HasSubstr("sluice_fuse_replayed_requests_total 2"));
}

TEST_F(DeviceChannelTest, ReplayedRequestThatTakesLongDoesNotHoldUpTheOthers) {
  {
    auto state = Attach();
    auto channel = Channel(*state);
    Initialize(*channel);
    kernel_.Send(kLookup, 4);
    Read(*channel);
  }
  auto state = Attach();
  auto channel = Channel(*state);
  Read(*channel);
  Reply(*channel, 2, 64);
  EXPECT_EQ(Read(*channel).unique, 4U);
  kernel_.Send(kLookup, 6);
  EXPECT_EQ(Read(*channel).unique, 6U) << "though 4 is not answered";
  EXPECT_TRUE(kernel_.Silent()) << "a resend would duplicate 4";
}

TEST_F(DeviceChannelTest, ForgetsAndInterruptsNeverReachTheFileSystem) {
  auto state = Attach();
  auto channel = Channel(*state);
  Initialize(*channel);
  kernel_.Send(static_cast<std::uint32_t>(Opcode::kForget), 4);
  kernel_.Send(static_cast<std::uint32_t>(Opcode::kInterrupt), 7);
  kernel_.Send(static_cast<std::uint32_t>(Opcode::kBatchForget), 8);
  kernel_.Send(kDestroy, 10);
  EXPECT_EQ(Read(*channel).unique, 10U);
  EXPECT_EQ(kernel_.Receive().error, -ENOSYS);
  EXPECT_EQ(channel->InFlight(), 1U);
}

TEST_F(DeviceChannelTest, RequestThatKillsTenProcessesIsGivenUp) {
  {
    auto state = Attach();
    auto channel = Channel(*state);
    Initialize(*channel);
    kernel_.Send(kLookup, 4);
    Read(*channel);
  }
  for (int process = 1; process < 10; ++process) {
    auto state = Attach();
    auto channel = Channel(*state);
    Read(*channel);
    Reply(*channel, 2, 64);
    EXPECT_EQ(Read(*channel).unique, 4U) << process;
  }
  auto state = Attach();
  auto channel = Channel(*state);
  Read(*channel);
  Reply(*channel, 2, 64);
  kernel_.Send(kLookup, 6);
  EXPECT_EQ(Read(*channel).unique, 6U);
  EXPECT_EQ(kernel_.Receive().error, -EIO);
}

TEST_F(DeviceChannelTest, ReadersWaitWhenEverySlotIsTaken) {
  auto state = Attach();
  auto channel = Channel(*state);
  Initialize(*channel);
  for (std::uint64_t i = 0; i < kJournalSlots; ++i) {
    kernel_.Send(kLookup, 4 + 2 * i);
    Read(*channel);
  }
  kernel_.Send(kLookup, 5000);
  std::jthread answer([&] { Reply(*channel, 4); });
  EXPECT_EQ(Read(*channel).unique, 5000U);
}

TEST_F(DeviceChannelTest, StopEndsAWaitForASlot) {
  auto state = Attach();
  auto channel = Channel(*state);
  Initialize(*channel);
  channel->Stop();
  std::byte buffer[kSlotBytes];
  EXPECT_EQ(channel->Read(buffer, sizeof(buffer)), -1);
  EXPECT_EQ(errno, EINTR);
}

}  // namespace
}  // namespace sluice::fuse_client
