// A holder with a real FUSE mount; needs root.
#include "sluice/broker/backing.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

#include <gmock/gmock.h>

#include "sluice/platform/mount.h"

#include "holder_fixture.h"

namespace sluice::broker {
namespace {

using std::chrono::seconds;

class BackingTest : public HolderTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
    HolderTest::SetUp();
    mount_ = std::filesystem::canonical(directory_) / "mnt";
    std::filesystem::create_directories(mount_);
    auto device = platform::MountFuse(mount_, {});
    ASSERT_TRUE(device.has_value()) << device.error().message;
    ConnectionSpec spec = Spec();
    spec.mount_point = mount_;
    spec.device = std::move(*device);
    ASSERT_TRUE(holder_->Add(std::move(spec)).has_value());
  }
  void TearDown() override {
    if (mount_.empty()) return;
    EXPECT_TRUE(platform::UnmountAll(mount_, true).has_value());
    HolderTest::TearDown();
  }
  std::filesystem::path mount_;
};

TEST_F(BackingTest, RefusesWhatIsNoReadOnlyRegularFile) {
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value());
  const auto path = directory_ / "file";
  std::ofstream(path) << "x";
  for (const auto& [name, flags] :
       std::vector<std::pair<std::string, int>>{{path, O_RDWR},
                                                {path, O_WRONLY},
                                                {path, O_PATH},
                                                {directory_, O_RDONLY},
                                                {"/dev/null", O_RDONLY}}) {
    const platform::UniqueFd file(::open(name.c_str(), flags | O_CLOEXEC));
    const auto id = (*client)->BackingOpen(1, file.Get());
    ASSERT_FALSE(id.has_value()) << name << " " << flags;
    EXPECT_EQ(id.error().code, Code::kInvalidArgument);
  }
  EXPECT_EQ((*client)->BackingClose(12345).error().code, Code::kNotFound);
}

TEST_F(BackingTest, ClientMayRegisterOnlyItsOwnFiles) {
  constexpr uid_t kNobody = 65534;
  const auto path = directory_ / "file";
  std::ofstream(path) << "x";
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  ASSERT_EQ(::chmod(directory_.c_str(), 0755), 0);
  ASSERT_TRUE(holder_->Remove("c").has_value());
  ConnectionSpec spec = Spec();
  spec.mount_point = mount_;
  spec.client_uid = kNobody;
  ASSERT_TRUE(holder_->Add(std::move(spec)).has_value());
  // Of this thread only: the holder stays root.
  ASSERT_EQ(::syscall(SYS_setresuid, -1, kNobody, -1), 0);
  auto client = Client::Connect(Socket(), In(seconds(5)));
  const platform::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::syscall(SYS_setresuid, -1, 0, -1), 0);
  ASSERT_TRUE(client.has_value()) << client.error().message;
  ASSERT_TRUE(file.Valid()) << "everybody may read it";
  EXPECT_EQ((*client)->BackingOpen(1, file.Get()).error().code, Code::kInvalidArgument);
  // Its own comes as far as the device, which is none here.
  ASSERT_EQ(::chown(path.c_str(), kNobody, kNobody), 0);
  const auto own = (*client)->BackingOpen(1, file.Get());
  ASSERT_FALSE(own.has_value());
  EXPECT_NE(own.error().code, Code::kInvalidArgument);
}

TEST_F(BackingTest, RestartedHolderGetsTheConnectionBackFromItsClient) {
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value());
  ASSERT_TRUE((*client)->ReportReady().has_value());
  ASSERT_TRUE(holder_->WaitReady("c", In(seconds(5))).has_value());

  StartHolder();  // all its descriptors are gone; the client's keep the mount alive
  ConnectionSpec spec = Spec();
  spec.mount_point = mount_;
  spec.device.Reset();
  ASSERT_TRUE(holder_->Add(std::move(spec)).has_value());
  const Status ready = holder_->WaitReady("c", In(seconds(10)));
  ASSERT_TRUE(ready.has_value()) << ready.error().message;
  EXPECT_TRUE(holder_->Get("c")->has_device);

  // And the next client gets the same connection from the new holder.
  client->reset();
  auto successor = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(successor.has_value()) << successor.error().message;
  EXPECT_EQ((*successor)->TakeBundle().epoch, 2U);
}

// The holder restarts while the client is still starting, and once it is away when it is told.
TEST_F(BackingTest, ReadyIsToldAlsoAfterADeposit) {
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value());
  const auto restart_holder = [&](bool ready_while_away) {
    StartHolder();
    if (ready_while_away) (void)(*client)->ReportReady();
    ConnectionSpec spec = Spec();
    spec.mount_point = mount_;
    spec.device.Reset();
    ASSERT_TRUE(holder_->Add(std::move(spec)).has_value());
  };
  ASSERT_NO_FATAL_FAILURE(restart_holder(/*ready_while_away=*/false));
  ASSERT_TRUE(Eventually([&] { return holder_->Get("c")->has_device; }));
  EXPECT_FALSE(holder_->WaitReady("c", In(std::chrono::milliseconds(100))).has_value());
  ASSERT_TRUE(Eventually([&] { return (*client)->ReportReady().has_value(); }));
  EXPECT_TRUE(holder_->WaitReady("c", In(seconds(10))).has_value());

  client->reset();
  auto successor = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(successor.has_value());
  client = std::move(successor);
  EXPECT_FALSE(holder_->Get("c")->ready) << "of the client before";
  ASSERT_NO_FATAL_FAILURE(restart_holder(/*ready_while_away=*/true));
  EXPECT_TRUE(holder_->WaitReady("c", In(seconds(10))).has_value());
}

TEST_F(BackingTest, DeviceOfAnotherMountCannotBeDeposited) {
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value());
  StartHolder();
  ConnectionSpec spec = Spec();
  spec.mount_point = "/proc";  // not the mount this descriptor serves
  spec.device.Reset();
  ASSERT_TRUE(holder_->Add(std::move(spec)).has_value());
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(holder_->Get("c")->has_device);
}

}  // namespace
}  // namespace sluice::broker
