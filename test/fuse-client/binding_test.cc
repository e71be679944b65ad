// Requests of the kernel through libfuse and the file system, over a socket pair.
#include "binding.h"

#include <eventually.h>
#include <fake_origin.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_kernel.h"
#include "make_index.h"

namespace sluice::fuse_client {
namespace {

using sluice::test::Eventually;
using sluice::testing::FakeOrigin;
using sluice::testing::MakeContent;

constexpr std::uint32_t kOpen = 14;
constexpr std::uint32_t kRead = 15;
constexpr std::uint32_t kRelease = 18;
constexpr std::int32_t kNotifyInvalidateInode = 2;
constexpr std::int32_t kNotifyInvalidateEntry = 3;
constexpr std::uint64_t kInitUnique = 2;

template <typename... Words>
std::vector<std::byte> Body(Words... words) {
  const std::array<std::uint32_t, sizeof...(words)> body = {static_cast<std::uint32_t>(words)...};
  const auto bytes = std::as_bytes(std::span(body));
  return {bytes.begin(), bytes.end()};
}

// One client process: everything from the state file to the workers.
class Client {
 public:
  Client(const FakeKernel& kernel, const platform::UniqueFd& memory,
         const std::shared_ptr<FakeOrigin>& origin)
      : state_(std::move(*StateFile::Attach(platform::UniqueFd(::dup(memory.Get()))))),
        opens_(*state_),
        channel_(kernel.device.Get(), *state_, {}, metrics_, log_),
        reader_(cache::Reader::Start({.cache_directory = ""}, metrics_, log_)),
        files_({.mounts = {{"", cache::SourceOf(origin)}}}, *reader_, opens_, metrics_),
        binding_({}, files_, channel_, metrics_, log_) {
    files_.Publish(MakeIndex({{"/", origin->Describe(), *origin->List()}}));
  }
  ~Client() {
    binding_.Stop(std::chrono::milliseconds(0));
    reader_.reset();
  }
  void Start() {
    const Status started = binding_.Start([] {});
    ASSERT_TRUE(started) << started.error().message;
  }
  void Invalidate(std::span<const IndexChange> changes) { binding_.Invalidate(changes); }
  std::uint64_t Id(const char* name) { return files_.Lookup(kRootId, name)->id; }
  std::uint32_t Opens() { return std::atomic_ref(state_->Opens()[0].opens).load(); }

 private:
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::unique_ptr<StateFile> state_;
  OpenTable opens_;
  DeviceChannel channel_;
  std::unique_ptr<cache::Reader> reader_;
  FileSystem files_;
  Binding binding_;
};

class BindingTest : public ::testing::Test {
 protected:
  void SetUp() override { origin_->Put("f", MakeContent(1000, 1)); }

  // A mount's first client, which has said INIT.
  std::unique_ptr<Client> FirstClient(const FakeKernel& kernel) {
    constexpr std::uint32_t kMinor = 40;
    kernel.Send({.opcode = static_cast<std::uint32_t>(Opcode::kInit), .unique = kInitUnique},
                Body(7, kMinor, 1 << 17, 0));
    auto client = std::make_unique<Client>(kernel, memory_, origin_);
    client->Start();
    EXPECT_EQ(kernel.Receive().unique, kInitUnique);
    return client;
  }
  // What a process that is killed now leaves behind.
  platform::UniqueFd Snapshot() {
    platform::UniqueFd copy(::memfd_create("snapshot", MFD_CLOEXEC));
    std::vector<char> page(1 << 16);
    for (off_t at = 0;; at += static_cast<off_t>(page.size())) {
      const ssize_t n = ::pread(memory_.Get(), page.data(), page.size(), at);
      if (n <= 0) return copy;
      EXPECT_EQ(::pwrite(copy.Get(), page.data(), static_cast<std::size_t>(n), at), n);
    }
  }

  platform::UniqueFd memory_{::memfd_create("test", MFD_CLOEXEC)};
  std::shared_ptr<FakeOrigin> origin_ = std::make_shared<FakeOrigin>();
};

TEST_F(BindingTest, OpenThatWasCountedAndNotAnsweredIsCountedOnce) {
  platform::UniqueFd left;
  {
    const FakeKernel kernel;
    const auto client = FirstClient(kernel);
    kernel.Congest();  // the answer hangs in its write
    kernel.Send({.opcode = kOpen, .unique = 4 | kResentUnique, .node_id = client->Id("f")},
                Body(O_RDONLY, 0));
    ASSERT_TRUE(Eventually([&] { return client->Opens() == 1; }));
    left = Snapshot();
    EXPECT_EQ(kernel.ReceiveBehindCongestion().unique, 4 | kResentUnique);
  }
  const FakeKernel kernel;
  Client successor(kernel, left, origin_);
  successor.Start();
  const ReplyHeader answer = kernel.Receive();
  EXPECT_EQ(answer.unique, 4 | kResentUnique);
  EXPECT_EQ(answer.error, 0);
  EXPECT_EQ(successor.Opens(), 1U);
  EXPECT_EQ(kernel.Receive().error, kNotifyResend);
  kernel.Send({.opcode = kRelease, .unique = 6, .node_id = successor.Id("f")},
              Body(0, 0, O_RDONLY, 0, 0, 0));
  EXPECT_EQ(kernel.Receive().unique, 6U);
  EXPECT_EQ(successor.Opens(), 0U);
}

TEST_F(BindingTest, OpenThatWasCountedAndIsGivenUpIsTakenBack) {
  platform::UniqueFd left;
  {
    const FakeKernel kernel;
    const auto client = FirstClient(kernel);
    kernel.Congest();
    kernel.Send({.opcode = kOpen, .unique = 4, .node_id = client->Id("f")}, Body(O_RDONLY, 0));
    ASSERT_TRUE(Eventually([&] { return client->Opens() == 1; }));
    left = Snapshot();
    EXPECT_EQ(kernel.ReceiveBehindCongestion().unique, 4U);
  }
  {
    // As if nine more processes had ended with it.
    const auto state = std::move(*StateFile::Attach(platform::UniqueFd(::dup(left.Get()))));
    for (std::uint32_t& replays : state->Header().replays) replays = 9;
  }
  const FakeKernel kernel;
  Client successor(kernel, left, origin_);
  successor.Start();
  const ReplyHeader answer = kernel.Receive();
  EXPECT_EQ(answer.unique, 4U);
  EXPECT_EQ(answer.error, -EIO);
  EXPECT_EQ(successor.Opens(), 0U) << "no release will come";
  EXPECT_EQ(kernel.Receive().error, kNotifyResend);
  kernel.Send({.opcode = kOpen, .unique = 6, .node_id = successor.Id("f")}, Body(O_RDONLY, 0));
  EXPECT_EQ(kernel.Receive().error, 0);
  EXPECT_EQ(successor.Opens(), 1U);
}

TEST_F(BindingTest, ReadOfADeletedObjectIsStale) {
  const FakeKernel kernel;
  const auto client = FirstClient(kernel);
  const std::uint64_t id = client->Id("f");
  origin_->Delete("f");
  kernel.Send({.opcode = kOpen, .unique = 4, .node_id = id}, Body(O_RDONLY, 0));
  EXPECT_EQ(kernel.Receive().error, 0);
  kernel.Send({.opcode = kRead, .unique = 6, .node_id = id}, Body(0, 0, 0, 0, 4096, 0, 0, 0, 0, 0));
  EXPECT_EQ(kernel.Receive().error, -ESTALE);
}

TEST_F(BindingTest, EveryChangedEntryIsInvalidatedHoweverManyThereAre) {
  const FakeKernel kernel;
  const auto client = FirstClient(kernel);
  constexpr std::size_t kChanges = 20'000;
  std::vector<IndexChange> changes;
  for (std::size_t i = 0; i < kChanges; ++i) {
    changes.push_back({kRootId + i / (kChanges / 2), std::to_string(i)});
  }
  const std::jthread invalidate([&] { client->Invalidate(changes); });
  std::map<std::int32_t, std::size_t> received;
  for (std::size_t i = 0; i < kChanges + 2; ++i) {
    const ReplyHeader message = kernel.Receive();
    ASSERT_NE(message.length, 0U) << "only " << i << " came";
    ++received[message.error];
  }
  EXPECT_EQ(received[kNotifyInvalidateInode], 2U) << "one for each directory";
  EXPECT_EQ(received[kNotifyInvalidateEntry], kChanges);
}

}  // namespace
}  // namespace sluice::fuse_client
