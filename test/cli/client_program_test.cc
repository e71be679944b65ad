// sluice-fuse as a pod runs it: behind a holder, or mounting by itself.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <future>
#include <thread>

#include "sluice/broker/holder.h"

#include "fake_server.h"
#include "minio_server.h"
#include "mounted.h"

namespace sluice::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::StartsWith;

class ClientProgramTest : public MountedTest {
 protected:
  std::string Program() const { return std::string(SLUICE_BIN_DIR) + "/sluice-fuse"; }
  void WriteConfig(const nlohmann::json& mounts) {
    WriteBytes(root_ / "config.json",
               nlohmann::json{{"mounts", mounts}, {"cache", {{"dir", (root_ / "cache").string()}}}}
                   .dump());
  }
  nlohmann::json DataMount() const {
    return nlohmann::json::array(
        {{{"mountPoint", "file://" + (root_ / "data").string()}, {"name", "d"}, {"path", "/"}}});
  }
  std::unique_ptr<Process> StartClient(std::vector<std::string> more) {
    std::vector<std::string> arguments = {Program(), "--config=" + (root_ / "config.json").string(),
                                          "--log-level=error"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const platform::UniqueFd log(
        ::open((root_ / "client.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    return std::make_unique<Process>(arguments, Variables{}, log.Get());
  }
  Outcome Check(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {Program(), "--check=" + (root_ / "mnt").string()});
    return RunCommand(more, {}, seconds(10));
  }
  static std::size_t ResidentKilobytes(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
    }
    return 0;
  }
};

TEST_F(ClientProgramTest, SelfMountedClientUnmountsOnSigterm) {
  WriteBytes(root_ / "data/f", "hello");
  WriteConfig(DataMount());
  auto client = StartClient({"--mount=" + (root_ / "mnt/new").string()});
  ASSERT_TRUE(Eventually([&] { return fs::exists(root_ / "mnt/new/f"); }));
  EXPECT_LE(ResidentKilobytes(client->Pid()), 30U << 10);
  const platform::UniqueFd open_file(::open((root_ / "mnt/new/f").c_str(), O_RDONLY | O_CLOEXEC));
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0) << ReadBytes(root_ / "client.log");
  EXPECT_FALSE(platform::FindMount(root_ / "mnt/new").has_value());
}

TEST_F(ClientProgramTest, SelfMountedClientReplacesTheDeadMountOfItsPredecessor) {
  WriteBytes(root_ / "data/f", "hello");
  WriteConfig(DataMount());
  auto killed = StartClient({"--mount=" + (root_ / "mnt").string()});
  ASSERT_TRUE(Eventually([&] { return Check().status == 0; }));
  killed.reset();  // SIGKILL
  EXPECT_EQ(Check().status, 1);
  auto client = StartClient({"--mount=" + (root_ / "mnt").string()});
  ASSERT_TRUE(Eventually([&] { return Check().status == 0; }));
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "hello");
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0);
  EXPECT_FALSE(IsMounted());
}

TEST_F(ClientProgramTest, CheckTellsLiveFromSilentAndFromNothing) {
  EXPECT_EQ(Check().status, 1);
  auto silent = platform::MountFuse(root_ / "mnt", {});  // nobody serves it
  ASSERT_TRUE(silent.has_value());
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Check().status, 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(5));
  (void)platform::AbortFuseConnection(platform::FindMount(root_ / "mnt")->minor);
}

// The postStart hook of an ordinary sidecar: it is run beside the client, and only once.
TEST_F(ClientProgramTest, CheckWaitsForTheMount) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Check({"--wait=1"}).status, 1);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, seconds(1));
  WriteBytes(root_ / "data/f", "hello");
  WriteConfig(DataMount());
  std::unique_ptr<Process> client;
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    client = StartClient({"--mount=" + (root_ / "mnt").string()});
  });
  EXPECT_EQ(Check({"--wait=8"}).status, 0);
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "hello");
  later.join();
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0);
}

// The startup probe of a sidecar: what it prints becomes the pod's event.
TEST_F(ClientProgramTest, CheckNamesTheCauseThatTheClientKnows) {
  const FakeServer server([](const FakeRequest&) {
    return Answer(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
  });
  WriteConfig(nlohmann::json::array(
      {{{"mountPoint", "s3://models"},
        {"name", "m"},
        {"path", "/"},
        {"options",
         {{"endpoint", server.Endpoint()}, {"accessKeyId", "id"}, {"secretAccessKey", "no"}}}}}));
  const std::string metrics = "--metrics=unix:" + (root_ / "client.sock").string();
  EXPECT_THAT(Check({metrics}).output, HasSubstr("client.sock: no answer"));
  auto client = StartClient({"--mount=" + (root_ / "mnt").string(), "--start-timeout=0", metrics});
  std::string said;
  EXPECT_TRUE(Eventually([&] {
    const Outcome check = Check({metrics});
    EXPECT_EQ(check.status, 1);
    said = check.output;
    return said.find("models") != std::string::npos;
  })) << said;
  EXPECT_THAT(said, StartsWith("not ready: "));
  EXPECT_THAT(said, HasSubstr("access key refused: check the Secret"));
  EXPECT_THAT(said, HasSubstr((root_ / "mnt").string()));
  // Corrected, it answers and the check with it.
  WriteBytes(root_ / "data/f", "x");
  WriteConfig(DataMount());
  EXPECT_TRUE(Eventually([&] { return Check({metrics}).status == 0; }));
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0);
}

// A port of this machine that somebody listens on.
class TakenPort {
 public:
  TakenPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(fd_.Get(), any, size), 0);
    EXPECT_EQ(::listen(fd_.Get(), 1), 0);
    EXPECT_EQ(::getsockname(fd_.Get(), any, &size), 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  const std::string& Address() const { return address_; }

 private:
  platform::UniqueFd fd_;
  std::string address_;
};

TEST_F(ClientProgramTest, SidecarWhoseMetricsPortIsTakenSaysSoAndServes) {
  const TakenPort port;
  WriteBytes(root_ / "data/f", "hello");
  WriteConfig(DataMount());
  const std::string socket = "--metrics=unix:" + (root_ / "client.sock").string();
  auto client =
      StartClient({"--mount=" + (root_ / "mnt").string(), "--metrics=" + port.Address(), socket});
  EXPECT_TRUE(Eventually([&] { return Check({socket}).status == 0; }));
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "hello");
  const std::string log = ReadBytes(root_ / "client.log");
  EXPECT_THAT(log, HasSubstr("no metrics"));
  EXPECT_THAT(log, HasSubstr(port.Address()));
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0);
}

TEST_F(ClientProgramTest, OriginIsListedAgainAtTheRefreshPeriod) {
  WriteBytes(root_ / "data/f", "x");
  WriteConfig(DataMount());
  auto client = StartClient({"--mount=" + (root_ / "mnt").string(), "--refresh=3"});
  ASSERT_TRUE(Eventually([&] { return fs::exists(root_ / "mnt/f"); }));
  WriteBytes(root_ / "data/late", "x");
  const auto written = std::chrono::steady_clock::now();
  ASSERT_TRUE(Eventually([&] { return fs::exists(root_ / "mnt/late"); }));
  const auto took = std::chrono::steady_clock::now() - written;
  EXPECT_GT(took, seconds(1)) << "the period is longer";
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0);

  client = StartClient({"--mount=" + (root_ / "mnt").string(), "--refresh=0"});
  ASSERT_TRUE(Eventually([&] { return fs::exists(root_ / "mnt/f"); }));
  WriteBytes(root_ / "data/later", "x");
  std::this_thread::sleep_for(2 * took);  // no event tells that nothing happens
  EXPECT_FALSE(fs::exists(root_ / "mnt/later"));
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0);
}

// How an ordinary sidecar is ended when its application is done: there is no shell in its image.
TEST_F(ClientProgramTest, EndMakesTheRunningClientUnmountAndExit) {
  WriteBytes(root_ / "data/f", "hello");
  WriteConfig(DataMount());
  const std::string metrics = "--metrics=unix:" + (root_ / "client.sock").string();
  const Outcome nobody = RunCommand({Program(), "--end", metrics}, {}, seconds(10));
  EXPECT_EQ(nobody.status, 1);
  EXPECT_THAT(nobody.output, HasSubstr("no client at " + (root_ / "client.sock").string()));
  const Outcome nowhere = RunCommand({Program(), "--end", "--metrics=:9568"}, {}, seconds(10));
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_THAT(nowhere.output, HasSubstr("--metrics unix:/path"));

  auto client = StartClient({"--mount=" + (root_ / "mnt").string(), metrics});
  ASSERT_TRUE(Eventually([&] { return Check().status == 0; }));
  EXPECT_EQ(RunCommand({Program(), "--end", "--metrics=:9568", metrics}, {}, seconds(10)).status,
            0);
  // Anything else would have kubelet start the sidecar again.
  EXPECT_EQ(client->Wait(seconds(15)), 0) << ReadBytes(root_ / "client.log");
  EXPECT_FALSE(IsMounted());
}

TEST_F(ClientProgramTest, WrongInvocationsAreUsageErrors) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{},
        {"--config=x"},
        {"--mount=/x"},
        {"--nonsense"},
        {"--wait=5", "--config=x", "--mount=/x"},
        {"--config=x", "--origin=y", "--mount=/x"},
        {"--config=x", "--mount=/x", "--broker=/y"},
        {"--config=x", "--mount=/x", "--log-level=loud"}}) {
    std::vector<std::string> line = {Program()};
    line.insert(line.end(), arguments.begin(), arguments.end());
    EXPECT_EQ(RunCommand(line, {}, seconds(10)).status, 2) << testing::PrintToString(arguments);
  }
}

TEST_F(ClientProgramTest, MissingConfigurationFailsWithItsName) {
  auto client = StartClient({"--mount=" + (root_ / "mnt").string()});
  EXPECT_EQ(client->Wait(seconds(15)), 1);
  EXPECT_THAT(ReadBytes(root_ / "client.log"), HasSubstr("config.json"));
}

// A holder in the test's own process stands for sluice-csi.
class BehindHolderTest : public ClientProgramTest {
 protected:
  void SetUp() override {
    ClientProgramTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(holder_.Start().has_value());
    auto device = platform::MountFuse(root_ / "mnt", {});
    ASSERT_TRUE(device.has_value()) << device.error().message;
    fs::create_directory(root_ / "broker");
    broker::ConnectionSpec spec;
    spec.id = "v";
    spec.directory = root_ / "broker";
    spec.mount_point = root_ / "mnt";
    spec.device = std::move(*device);
    ASSERT_TRUE(holder_.Add(std::move(spec)).has_value());
  }
  Status WaitReady(milliseconds time) {
    return holder_.WaitReady("v", std::chrono::steady_clock::now() + time);
  }
  std::unique_ptr<Process> StartBehindHolder() {
    return StartClient({"--broker=" + (root_ / "broker/s").string()});
  }

  platform::Metrics metrics_;
  broker::Holder holder_{platform::Log("test", platform::LogLevel::kError), metrics_};
};

TEST_F(BehindHolderTest, ClientWhoseMetricsPortIsTakenEndsAndSaysSo) {
  const TakenPort port;
  WriteBytes(root_ / "data/f", "hello");
  WriteConfig(DataMount());
  auto client =
      StartClient({"--broker=" + (root_ / "broker/s").string(), "--metrics=" + port.Address()});
  EXPECT_EQ(client->Wait(seconds(15)), 1) << "its probes would ask somebody else";
  EXPECT_THAT(ReadBytes(root_ / "client.log"), HasSubstr(port.Address()));
}

TEST_F(BehindHolderTest, MountOutlivesOrderlyRestartsAndReaderSeesNothing) {
  const std::string bytes = RandomBytes(8 << 20, 2);
  WriteBytes(root_ / "data/f", bytes);
  WriteConfig(DataMount());
  auto client = StartBehindHolder();
  ASSERT_TRUE(WaitReady(seconds(15)).has_value());
  EXPECT_TRUE(ReadBytes(root_ / "mnt/f") == bytes);
  DropPages(root_ / "mnt/f");
  client->Signal(SIGTERM);
  EXPECT_EQ(client->Wait(seconds(15)), 0);
  EXPECT_TRUE(IsMounted()) << "the mount is the holder's";
  auto reading = std::async(std::launch::async, [&] { return ReadBytes(root_ / "mnt/f"); });
  auto successor = StartBehindHolder();
  ASSERT_EQ(reading.wait_for(seconds(20)), std::future_status::ready);
  EXPECT_TRUE(reading.get() == bytes);
  // Read-ahead is raised once the kernel has agreed on the connection.
  const auto mount = platform::FindMount(root_ / "mnt");
  EXPECT_TRUE(Eventually([&] {
    return ReadBytes("/sys/class/bdi/0:" + std::to_string(mount->minor) + "/read_ahead_kb") ==
           "8192\n";
  }));
}

TEST_F(BehindHolderTest, OriginThatIsDownIsReportedWithItsCauseUntilItIsBack) {
  auto server = MinioServer::Start();
  if (!server) GTEST_SKIP() << server.error().message;
  ASSERT_TRUE((*server)->MakeBucket("models").has_value());
  ASSERT_TRUE((*server)->Put("models", "f", "from s3").has_value());
  const auto mount = (*server)->Mount("s3://models");
  WriteConfig(nlohmann::json::array({{{"mountPoint", mount.mount_point},
                                      {"name", "m"},
                                      {"path", "/"},
                                      {"options", mount.options},
                                      {"secretFiles", mount.secret_files}}}));
  (*server)->Stop();
  auto client = StartBehindHolder();
  ASSERT_TRUE(Eventually([&] {
    return holder_.Get("v")->last_error.find("models") != std::string::npos;
  })) << holder_.Get("v")->last_error;
  const Status failed = WaitReady(milliseconds(100));
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("s3://models"));
  ASSERT_TRUE((*server)->Restart().has_value());
  ASSERT_TRUE(WaitReady(seconds(30)).has_value());
  EXPECT_EQ(ReadBytes(root_ / "mnt/f"), "from s3");
}

TEST_F(BehindHolderTest, WrongConfigurationIsReportedAndHealsWhenItIsCorrected) {
  WriteBytes(root_ / "data/f", "x");
  WriteBytes(root_ / "config.json", "{\"mounts\": []}");
  auto client = StartBehindHolder();
  ASSERT_TRUE(Eventually([&] {
    return holder_.Get("v")->last_error.find("mounts") != std::string::npos;
  })) << holder_.Get("v")->last_error;
  EXPECT_EQ(holder_.Get("v")->last_error_code, Code::kInvalidArgument);
  WriteConfig(DataMount());
  EXPECT_TRUE(WaitReady(seconds(20)).has_value());
}

}  // namespace
}  // namespace sluice::test
