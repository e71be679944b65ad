#include "device_channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_kernel.h"

namespace sluice::fuse_client {
namespace {

constexpr std::uint32_t kDestroy = 38;

class DeviceChannelTest : public ::testing::Test {
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

  FakeKernel kernel_;
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
  EXPECT_THAT(metrics_.Render(), ::testing::HasSubstr("sluice_fuse_replayed_requests_total 2"));
}

TEST_F(DeviceChannelTest, AWriteIsLargerThanItsSlotAndArrivesWhole) {
  auto state = Attach();
  auto channel = Channel(*state);
  Initialize(*channel);
  std::vector<std::byte> body(3 * kSlotBytes);
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<std::byte>(i * 7);
  kernel_.Send({.opcode = static_cast<std::uint32_t>(Opcode::kWrite), .unique = 4}, body);
  std::vector<std::byte> buffer(1U << 20);
  const ssize_t n = channel->Read(buffer.data(), buffer.size());
  ASSERT_EQ(n, static_cast<ssize_t>(sizeof(RequestHeader) + body.size()));
  EXPECT_EQ(std::memcmp(buffer.data() + sizeof(RequestHeader), body.data(), body.size()), 0);
  EXPECT_EQ(channel->InFlight(), 1U);
}

TEST_F(DeviceChannelTest, NoChangeIsCarriedOutByTwoProcesses) {
  constexpr std::uint32_t kOpenFlags = O_WRONLY | O_TRUNC;
  std::vector<std::byte> open(8);
  std::memcpy(open.data(), &kOpenFlags, sizeof(kOpenFlags));
  {
    auto state = Attach();
    auto channel = Channel(*state);
    Initialize(*channel);
    kernel_.Send({.opcode = static_cast<std::uint32_t>(Opcode::kWrite), .unique = 4},
                 std::vector<std::byte>(2 * kSlotBytes));
    kernel_.Send({.opcode = static_cast<std::uint32_t>(Opcode::kOpen), .unique = 6}, open);
    kernel_.Send(static_cast<std::uint32_t>(Opcode::kRename2), 8);
    kernel_.Send(kLookup, 10);
    std::vector<std::byte> buffer(1U << 20);
    for (int i = 0; i < 4; ++i) EXPECT_GT(channel->Read(buffer.data(), buffer.size()), 0);
  }
  auto state = Attach();
  auto channel = Channel(*state);
  Read(*channel);  // INIT
  Reply(*channel, 2, 64);
  EXPECT_EQ(Read(*channel).unique, 10U);
  for (const std::uint64_t unique : {4U, 6U, 8U}) {
    const ReplyHeader reply = kernel_.Receive();
    EXPECT_EQ(reply.unique, unique);
    EXPECT_EQ(reply.error, -EIO);
  }
}

TEST_F(DeviceChannelTest, NobodyReadsBeforeTheResendIsWritten) {
  {
    auto state = Attach();
    Initialize(*Channel(*state));
  }
  auto state = Attach();
  auto channel = Channel(*state);
  Read(*channel);
  Reply(*channel, 2, 64);
  kernel_.Congest();  // the worker that asks for the resend hangs in its write
  for (const std::uint64_t unique : {4U, 6U}) kernel_.Send(kLookup, unique);
  std::array<std::future<RequestHeader>, 2> workers;
  for (auto& worker : workers) {
    worker = std::async(std::launch::async, [&] { return Read(*channel); });
  }
  for (auto& worker : workers) {
    EXPECT_EQ(worker.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout)
        << "a resend would duplicate what it has read";
  }
  EXPECT_EQ(kernel_.ReceiveBehindCongestion().error, kNotifyResend);
  EXPECT_THAT((std::array{workers[0].get().unique, workers[1].get().unique}),
              ::testing::UnorderedElementsAre(4U, 6U));
  EXPECT_TRUE(kernel_.Silent()) << "asked once";
}

TEST_F(DeviceChannelTest, WhatWasSentAgainKeepsItsPlaceInTheReplay) {
  {
    auto state = Attach();
    auto channel = Channel(*state);
    Initialize(*channel);
    for (const std::uint64_t unique : {4U | kResentUnique, 6UL}) kernel_.Send(kLookup, unique);
    for (int i = 0; i < 2; ++i) Read(*channel);
  }
  auto state = Attach();
  auto channel = Channel(*state);
  Read(*channel);
  Reply(*channel, 2, 64);
  EXPECT_EQ(Read(*channel).unique, 4U | kResentUnique);
  EXPECT_EQ(Read(*channel).unique, 6U);
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

TEST_F(DeviceChannelTest, EffectStaysWithItsRequestUntilTheAnswer) {
  {
    auto state = Attach();
    auto channel = Channel(*state);
    Initialize(*channel);
    OpenTable opens(*state);
    for (const std::uint64_t unique : {4U | kResentUnique, 6UL}) kernel_.Send(kLookup, unique);
    for (int i = 0; i < 2; ++i) Read(*channel);
    opens.Set(*opens.Acquire(), {.id = 7, .backing_id = 0, .opens = 1},
              channel->EffectOf(4U | kResentUnique));
    EXPECT_FALSE(channel->EffectOf(6).Done());
  }
  auto state = Attach();
  const OpenTable opens(*state);
  auto channel = Channel(*state);
  Read(*channel);
  Reply(*channel, 2, 64);
  const std::uint64_t replayed = Read(*channel).unique;
  EXPECT_TRUE(channel->EffectOf(replayed).Done());
  EXPECT_FALSE(channel->EffectOf(Read(*channel).unique).Done());
  Reply(*channel, replayed);
  Reply(*channel, 6);
  EXPECT_FALSE(channel->EffectOf(replayed).Done()) << "answered and forgotten";
  for (std::uint64_t i = 0; i < kJournalSlots; ++i) {
    kernel_.Send(kLookup, 100 + 2 * i);
    EXPECT_FALSE(channel->EffectOf(Read(*channel).unique).Done()) << "a new request in the slot";
  }
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
