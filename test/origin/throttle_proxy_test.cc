// The proxy that the benchmarks trust: does it delay, limit and end as it says?
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sluice/origin/make_origin.h"

#include "fake_server.h"
#include "read_all.h"

namespace sluice::origin {
namespace {

using Clock = std::chrono::steady_clock;
using test::Answer;
using test::FakeRequest;
using test::FakeServer;

// The program as a child; ended with the object.
class Proxy {
 public:
  Proxy(int upstream, std::vector<std::string> more) {
    std::vector<std::string> args = {std::string(SLUICE_BIN_DIR) + "/throttle-proxy", "--listen",
                                     "127.0.0.1:0", "--upstream",
                                     "127.0.0.1:" + std::to_string(upstream)};
    args.insert(args.end(), more.begin(), more.end());
    int pipe[2];
    if (::pipe(pipe) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(pipe[1], 1);
      ::close(pipe[0]);
      std::vector<char*> argv;
      for (std::string& arg : args) argv.push_back(arg.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(pipe[1]);
    std::string line;
    pollfd wait{pipe[0], POLLIN, 0};
    char byte = 0;
    while (::poll(&wait, 1, 10'000) == 1 && ::read(pipe[0], &byte, 1) == 1 && byte != '\n') {
      line += byte;
    }
    ::close(pipe[0]);
    port_ = std::atoi(line.c_str());
  }
  ~Proxy() { End(); }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // The exit status after SIGTERM.
  int End() {
    if (pid_ <= 0) return -1;
    ::kill(pid_, SIGTERM);
    int status = -1;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  [[nodiscard]] int Port() const { return port_; }

 private:
  pid_t pid_ = -1;
  int port_ = 0;
};

class ThrottleProxyTest : public ::testing::Test {
 protected:
  std::unique_ptr<Origin> Open(int port) {
    MountConfig mount;
    mount.mount_point = "s3://bkt";
    mount.options = {{"endpoint", "http://127.0.0.1:" + std::to_string(port)}};
    OriginLimits limits;
    limits.max_attempts = 2;
    auto origin = MakeOrigin(mount, limits, metrics_, log_);
    EXPECT_TRUE(origin);
    return std::move(*origin);
  }
  // Seconds that `count` reads of the whole object at once take.
  static double Time(Origin& origin, const OriginObject& object, int count) {
    const auto begin = Clock::now();
    std::vector<std::future<ReadResult>> reads;
    for (int i = 0; i < count; ++i) reads.push_back(StartRead(origin, object, 0, object.size));
    for (auto& read : reads) {
      const ReadResult result = read.get();
      EXPECT_TRUE(result.status) << result.status.error().message;
      EXPECT_EQ(result.bytes.size(), object.size);
    }
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }
  static OriginObject Object(std::size_t size) {
    OriginObject object;
    object.path = "a";
    object.size = size;
    object.version = "v1";
    return object;
  }

  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
};

// Only lower bounds: on a busy machine everything may take longer.
TEST_F(ThrottleProxyTest, DelaysAndLimits) {
  const std::string body(4'000'000, 'x');
  FakeServer server([&](const FakeRequest&) { return Answer(200, body, {"ETag: \"v1\""}); });
  Proxy proxy(server.Port(), {"--rate-mb", "40", "--per-connection-mb", "20", "--rtt-ms", "40"});
  ASSERT_GT(proxy.Port(), 0);
  auto origin = Open(proxy.Port());
  const double one = Time(*origin, Object(body.size()), 1);
  EXPECT_GE(one, 0.2 + 0.04) << "4 MB at 20 MB/s, and a round trip";
  const double four = Time(*origin, Object(body.size()), 4);
  EXPECT_GE(four, 0.39) << "16 MB at 40 MB/s";
  origin.reset();
  EXPECT_EQ(proxy.End(), 0);
}

TEST_F(ThrottleProxyTest, PassesOnThatTheServerIsGone) {
  int port = 0;
  {
    FakeServer gone([](const FakeRequest&) { return Answer(200, ""); });
    port = gone.Port();
  }
  Proxy proxy(port, {"--profile", "lan"});
  ASSERT_GT(proxy.Port(), 0);
  auto origin = Open(proxy.Port());
  const ReadResult read = ReadWhole(*origin, Object(10));
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace sluice::origin
