// The adapter for web servers against real ones: nginx and Python's.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/make_origin.h"
#include "sluice/platform/unique_fd.h"

#include "loopback.h"
#include "read_all.h"

namespace sluice::origin {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kUpWithin = std::chrono::seconds(15);
constexpr auto kConnectPause = std::chrono::milliseconds(20);

bool Accepts(int port) {
  const platform::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = test::Loopback(port);
  return ::connect(fd.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

// A program that serves a port until the object goes.
class ServerProcess {
 public:
  ServerProcess(std::vector<std::string> arguments, int port) {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      const int null = ::open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    const auto deadline = std::chrono::steady_clock::now() + kUpWithin;
    while (!Accepts(port) && std::chrono::steady_clock::now() < deadline) {
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        return;
      }
      std::this_thread::sleep_for(kConnectPause);
    }
  }
  ~ServerProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

 private:
  pid_t pid_ = -1;
};

class HttpServersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sluice-web-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    port_ = test::FreePort();
    fs::create_directories(directory_ + "/files/sub/deep er");
    Write("a b+c&d.bin", std::string(3'000'000, 'x') + "end");
    Write("empty", "");
    Write("sub/ü%20.txt", "hello");
    Write("sub/deep er/x", "deep");
  }
  void TearDown() override { fs::remove_all(directory_); }

  void Write(const std::string& path, const std::string& bytes) const {
    std::ofstream(directory_ + "/files/" + path, std::ios::binary) << bytes;
  }

  // False when there is no nginx on this machine.
  bool StartNginx() {
    std::string program;
    for (const char* place : {"/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"}) {
      if (::access(place, X_OK) == 0) program = place;
    }
    if (program.empty()) return false;
    std::string paths;
    for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      paths += fmt::format("{}_temp_path {}/t-{};\n", kind, directory_, kind);
    }
    std::ofstream(directory_ + "/nginx.conf") << fmt::format(
        "{4}daemon off;\nworker_processes 1;\npid {0}/pid;\nerror_log {0}/error.log;\n"
        "events {{ worker_connections 64; }}\n"
        "http {{ access_log off;\n{2}"
        "server {{ listen 127.0.0.1:{1}; root {0}/files; charset utf-8;\n"
        "location / {{ autoindex on; }}\n"
        "location /json/ {{ alias {0}/files/; autoindex on; autoindex_format json; }}\n"
        "location /moved/ {{ rewrite ^/moved/(.*)$ {3}/$1 redirect; }}\n"
        "}} }}\n",
        directory_, port_, paths, Url(""), ::geteuid() == 0 ? "user root root;\n" : "");
    server_ = std::make_unique<ServerProcess>(
        std::vector<std::string>{program, "-e", directory_ + "/error.log", "-p", directory_, "-c",
                                 directory_ + "/nginx.conf"},
        port_);
    return true;
  }
  [[nodiscard]] std::string Url(const std::string& path) const {
    return fmt::format("http://127.0.0.1:{}{}", port_, path);
  }
  Origin& Open(const std::string& path) {
    MountConfig mount;
    mount.mount_point = Url(path);
    auto origin = MakeOrigin(mount, {}, metrics_, log_);
    EXPECT_TRUE(origin) << origin.error().message;
    origin_ = std::move(*origin);
    return *origin_;
  }

  std::string directory_;
  int port_ = 0;
  std::unique_ptr<ServerProcess> server_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::unique_ptr<Origin> origin_;
};

TEST_F(HttpServersTest, NginxIsReadByEveryKindOfIndex) {
  if (!StartNginx()) GTEST_SKIP() << "there is no nginx; scripts/install-packages brings it";
  for (const char* path : {"/", "/json/", "/moved/"}) {
    SCOPED_TRACE(path);
    Origin& origin = Open(path);
    const auto listing = origin.List();
    ASSERT_TRUE(listing) << listing.error().message;
    std::vector<std::string> found;
    for (const OriginObject& object : listing->objects) {
      const ReadResult read = ReadWhole(origin, object);
      ASSERT_TRUE(read.status) << read.status.error().message;
      found.push_back(
          fmt::format("{} {}", object.path,
                      read.bytes.size() > 9 ? "..." + read.bytes.substr(2'999'999) : read.bytes));
    }
    EXPECT_THAT(found, ElementsAre("a b+c&d.bin ...xend", "empty ", "sub/deep er/x deep",
                                   "sub/ü%20.txt hello"));
    EXPECT_EQ(listing->skipped, 0U);
  }
}

TEST_F(HttpServersTest, AFileThatNginxHasReplacedIsAConflict) {
  if (!StartNginx()) GTEST_SKIP() << "there is no nginx; scripts/install-packages brings it";
  for (const char* path : {"/sub/", "/json/sub/"}) {
    SCOPED_TRACE(path);
    Write("sub/x", "old bytes");
    Origin& origin = Open(path);
    const auto object = Find(origin, "x");
    ASSERT_TRUE(object) << object.error().message;
    EXPECT_EQ(ReadRange(origin, *object, 4, 5).bytes, "bytes");
    Write("sub/x", "new bytes");
    fs::last_write_time(directory_ + "/files/sub/x",
                        fs::file_time_type::clock::now() + std::chrono::seconds(10));
    const ReadResult read = ReadRange(origin, *object, 4, 5);
    ASSERT_FALSE(read.status);
    EXPECT_EQ(read.status.error().code, Code::kConflict) << read.status.error().message;
    EXPECT_EQ(read.bytes, "");
  }
}

TEST_F(HttpServersTest, OneFileAndADirectoryWithoutSlash) {
  if (!StartNginx()) GTEST_SKIP() << "there is no nginx; scripts/install-packages brings it";
  EXPECT_EQ(Open("/sub/deep%20er/x").List()->objects.at(0).path, "x");
  EXPECT_EQ(Open("/sub/deep%20er").List()->objects.at(0).path, "x");
  const auto missing = Open("/nowhere/").List();
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
}

// Python's server has index pages but no ranges: said, and not read wrongly.
TEST_F(HttpServersTest, PythonsServerIsListedButHasNoRanges) {
  server_ = std::make_unique<ServerProcess>(
      std::vector<std::string>{"python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                               directory_ + "/files", std::to_string(port_)},
      port_);
  // An empty file needs no ranges, so that the rest is left out instead of failing the whole.
  const auto listing = Open("/").List();
  ASSERT_TRUE(listing) << listing.error().message;
  ASSERT_EQ(listing->objects.size(), 1U);
  EXPECT_EQ(listing->objects[0].path, "empty");
  EXPECT_EQ(listing->skipped, 3U);
  const auto below = Open("/sub/").List();
  ASSERT_FALSE(below);
  EXPECT_THAT(below.error().message, HasSubstr("range of bytes"));
}

}  // namespace
}  // namespace sluice::origin
