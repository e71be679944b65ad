#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <future>
#include <vector>

#include <gmock/gmock.h>

#include "holder_fixture.h"

namespace sluice::broker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

using HandoverTest = HolderTest;

TEST_F(HandoverTest, FirstClientGetsTheDeviceAndAnEmptyState) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value()) << client.error().message;
  const Bundle bundle = (*client)->TakeBundle();
  EXPECT_EQ(bundle.epoch, 1U);
  struct stat info = {};
  ASSERT_EQ(::fstat(bundle.state.Get(), &info), 0);
  EXPECT_EQ(info.st_size, 0);
  EXPECT_NE(::fcntl(bundle.device.Get(), F_GETFD) & FD_CLOEXEC, 0);
  const auto status = holder_->Get("c");
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(status->client_connected);
  EXPECT_EQ(status->client_pid, ::getpid());
  EXPECT_FALSE(status->ready);
}

TEST_F(HandoverTest, SuccessorWaitsForItsPredecessorAndSeesItsState) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  auto first = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(first.has_value());
  {
    const Bundle bundle = (*first)->TakeBundle();
    ASSERT_EQ(::ftruncate(bundle.state.Get(), 4096), 0);
    ASSERT_EQ(::pwrite(bundle.state.Get(), "seen", 4, 0), 4);
    EXPECT_NE(::ftruncate(bundle.state.Get(), 0), 0) << "must be sealed against shrinking";
  }
  auto second =
      std::async(std::launch::async, [&] { return Client::Connect(Socket(), In(seconds(10))); });
  EXPECT_EQ(second.wait_for(milliseconds(100)), std::future_status::timeout)
      << "two clients had the bundle at once";
  first->reset();
  auto client = second.get();
  ASSERT_TRUE(client.has_value()) << client.error().message;
  const Bundle bundle = (*client)->TakeBundle();
  EXPECT_EQ(bundle.epoch, 2U);
  char text[5] = {};
  ASSERT_EQ(::pread(bundle.state.Get(), text, 4, 0), 4);
  EXPECT_STREQ(text, "seen");
}

TEST_F(HandoverTest, WaitingSuccessorGivesUpAtItsDeadline) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  auto first = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(first.has_value());
  const auto second = Client::Connect(Socket(), In(milliseconds(100)));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::kDeadlineExceeded);
}

TEST_F(HandoverTest, ClientThatComesFirstWaitsForTheSocket) {
  auto early =
      std::async(std::launch::async, [&] { return Client::Connect(Socket(), In(seconds(10))); });
  std::this_thread::sleep_for(milliseconds(50));
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  EXPECT_TRUE(early.get().has_value());
}

TEST_F(HandoverTest, AnotherUidIsRefused) {
  ConnectionSpec spec = Spec();
  spec.client_uid = 4242;
  const Status added = holder_->Add(std::move(spec));
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give the socket to another uid";
  ASSERT_TRUE(added.has_value()) << added.error().message;
  const auto client = Client::Connect(Socket(), In(milliseconds(100)));
  ASSERT_FALSE(client.has_value());
  EXPECT_FALSE(holder_->Get("c")->client_connected);
  EXPECT_THAT(metrics_.Render(), testing::Not(HasSubstr("sluice_broker_refused_total 0")));
}

TEST_F(HandoverTest, ClientThatFindsNoDescriptorLeftWaitsQuietly) {
  const auto cpu = [] {
    timespec used = {};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  };
  ASSERT_TRUE(holder_->Add(Spec()));
  testing::internal::CaptureStderr();
  platform::UniqueFd client(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit few = {.rlim_cur = 64, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<platform::UniqueFd> taken;
  for (int fd = ::dup(client.Get()); fd >= 0; fd = ::dup(client.Get())) taken.emplace_back(fd);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  Socket().copy(address.sun_path, sizeof(address.sun_path) - 1);
  const auto before = cpu();
  const int connected =
      ::connect(client.Get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const auto used = cpu() - before;
  taken.clear();
  ::setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(connected, 0);
  EXPECT_LT(used, std::chrono::milliseconds(300)) << "the holder does not spin";
  // It is served once there is room: what it says is answered, by the end of the connection.
  ASSERT_EQ(::send(client.Get(), "?", 1, MSG_NOSIGNAL), 1);
  const timeval wait = {.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(client.Get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  char answer[64];
  EXPECT_GE(::recv(client.Get(), answer, sizeof(answer), 0), 0) << std::strerror(errno);
  const std::string log = testing::internal::GetCapturedStderr();
  const std::string said = "no descriptor for a client";
  EXPECT_NE(log.find(said), std::string::npos) << log;
  EXPECT_EQ(log.find(said), log.rfind(said)) << "said once: " << log;
}

TEST_F(HandoverTest, WaitReadyReturnsTheClientsCause) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  const Status nobody = holder_->WaitReady("c", In(milliseconds(20)));
  ASSERT_FALSE(nobody.has_value());
  EXPECT_THAT(nobody.error().message, HasSubstr("no client"));

  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value());
  ASSERT_TRUE((*client)
                  ->ReportFailure({Code::kPermissionDenied, "s3://b: the key is not accepted"})
                  .has_value());
  ASSERT_TRUE(Eventually([&] { return holder_->Get("c")->last_error.starts_with("s3"); }));
  const Status failed = holder_->WaitReady("c", In(milliseconds(20)));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code, Code::kPermissionDenied);
  EXPECT_EQ(failed.error().message, "s3://b: the key is not accepted");

  ASSERT_TRUE((*client)->ReportReady().has_value());
  EXPECT_TRUE(holder_->WaitReady("c", In(seconds(5))).has_value());
  EXPECT_EQ(holder_->Get("c")->last_error, "");
}

TEST_F(HandoverTest, TheCauseOutlivesTheClientThatReportedIt) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  {
    auto client = Client::Connect(Socket(), In(seconds(5)));
    ASSERT_TRUE((*client)->ReportFailure({Code::kNotFound, "bucket b"}).has_value());
    ASSERT_TRUE(Eventually([&] { return holder_->Get("c")->last_error == "bucket b"; }));
  }
  ASSERT_TRUE(Eventually([&] { return !holder_->Get("c")->client_connected; }));
  EXPECT_EQ(holder_->WaitReady("c", In(milliseconds(1))).error().message, "bucket b");
}

TEST_F(HandoverTest, FailureTextCannotSteerATerminal) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value());
  ASSERT_TRUE((*client)->ReportFailure({Code::kInternal, "bucket ö\x1b[2J\nroot\x7f"}).has_value());
  EXPECT_TRUE(Eventually([&] { return holder_->Get("c")->last_error == "bucket ö [2J root "; }));
}

TEST_F(HandoverTest, LongFailureTextIsCut) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE((*client)->ReportFailure({Code::kInternal, std::string(5000, 'x')}).has_value());
  EXPECT_TRUE(Eventually([&] { return holder_->Get("c")->last_error.size() == 1024; }));
}

TEST_F(HandoverTest, AddTwiceAndUnknownIdsAreErrors) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  EXPECT_EQ(holder_->Add(Spec()).error().code, Code::kAlreadyExists);
  EXPECT_EQ(holder_->Get("other").error().code, Code::kNotFound);
  EXPECT_EQ(holder_->Remove("other").error().code, Code::kNotFound);
  EXPECT_EQ(holder_->WaitReady("other", In(seconds(5))).error().code, Code::kNotFound);
  ConnectionSpec missing = Spec();
  missing.id = "d";
  missing.directory = directory_ / "missing";
  EXPECT_FALSE(holder_->Add(std::move(missing)).has_value());
}

TEST_F(HandoverTest, RemoveClosesTheSocketAndLetsTheNextAddHaveIt) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  ASSERT_TRUE(holder_->Remove("c").has_value());
  EXPECT_FALSE(std::filesystem::exists(directory_ / "s"));
  EXPECT_TRUE(holder_->Add(Spec()).has_value());
}

TEST_F(HandoverTest, LongDirectoryNamesWork) {
  ConnectionSpec spec = Spec();
  const auto deep = directory_ / std::string(120, 'd');
  std::filesystem::create_directories(deep);
  spec.directory = deep;
  const Status added = holder_->Add(std::move(spec));
  ASSERT_TRUE(added.has_value()) << added.error().message;
  EXPECT_TRUE(Client::Connect(deep / "s", In(seconds(5))).has_value());
}

TEST_F(HandoverTest, DescriptorThatIsNoFuseDeviceCannotBeDeposited) {
  ASSERT_TRUE(holder_->Add(Spec()).has_value());
  auto client = Client::Connect(Socket(), In(seconds(5)));
  ASSERT_TRUE(client.has_value());
  StartHolder();
  ConnectionSpec spec = Spec();
  spec.device.Reset();
  ASSERT_TRUE(holder_->Add(std::move(spec)).has_value());
  // The client tries for as long as it lives; /dev/null must never be taken for /dev/fuse.
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_FALSE(holder_->Get("c")->has_device);
  EXPECT_THAT(metrics_.Render(), HasSubstr("sluice_broker_deposits_total 0"));
}

}  // namespace
}  // namespace sluice::broker
