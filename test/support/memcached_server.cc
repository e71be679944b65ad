#include "memcached_server.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "sluice/platform/unique_fd.h"

#include "loopback.h"

namespace sluice::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kReadyWithin = std::chrono::seconds(20);
constexpr auto kPause = std::chrono::milliseconds(10);
constexpr int kStarts = 3;

std::string Binary() {
  const char* const given = std::getenv("SLUICE_MEMCACHED");
  return given == nullptr ? "/usr/bin/memcached" : given;
}

// In the child: becomes the server, and dies with the test.
[[noreturn]] void Exec(const std::vector<std::string>& arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(argv.front(), argv.data());
  ::_exit(127);
}

}  // namespace

Result<std::unique_ptr<MemcachedServer>> MemcachedServer::Start(
    std::vector<std::string> arguments) {
  std::unique_ptr<MemcachedServer> server(new MemcachedServer);
  server->arguments_ = std::move(arguments);
  Status launched = Ok();
  for (int i = 0; i < kStarts; ++i) {
    server->port_ = server->plain_port_ = FreePort();
    launched = server->Launch();
    if (launched) return server;
  }
  return Fail(launched.error());
}

MemcachedServer::~MemcachedServer() { Kill(); }

Status MemcachedServer::Launch() {
  std::vector<std::string> words{Binary(), "-l", "127.0.0.1", "-p", std::to_string(port_),
                                 "-U",     "0",  "-I",        "8m", "-t",
                                 "2",      "-u", "root"};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  if (std::ranges::find(arguments_, "-Z") != arguments_.end()) {
    plain_port_ = FreePort();
    words.insert(words.end(), {"-l", fmt::format("notls:127.0.0.1:{}", plain_port_)});
  }
  pid_ = ::fork();
  if (pid_ < 0) return Fail(Code::kInternal, "fork memcached");
  if (pid_ == 0) Exec(words);
  return WaitUntilReady();
}

Status MemcachedServer::WaitUntilReady() {
  const auto deadline = Clock::now() + kReadyWithin;
  while (Clock::now() < deadline) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return Fail(Code::kUnavailable, fmt::format("{} ended with status {}", Binary(), status));
    }
    // What wants credentials says so, and is ready.
    if (Ask("mn")) return Ok();
    std::this_thread::sleep_for(kPause);
  }
  Kill();
  return Fail(Code::kUnavailable, "memcached did not get ready");
}

void MemcachedServer::Kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

Status MemcachedServer::Restart() {
  Kill();
  return Launch();
}

void MemcachedServer::Freeze() {
  ::kill(pid_, SIGSTOP);
  ::waitpid(pid_, nullptr, WUNTRACED);
}
void MemcachedServer::Thaw() { ::kill(pid_, SIGCONT); }

Result<std::string> MemcachedServer::Ask(const std::string& command) const {
  const platform::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Loopback(plain_port_);
  const timeval limit{2, 0};
  ::setsockopt(fd.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  if (::connect(fd.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Fail(Code::kUnavailable, "connect to memcached");
  }
  const std::string line = command + "\r\n";
  if (::send(fd.Get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) {
    return Fail(Code::kUnavailable, "send to memcached");
  }
  std::string reply;
  while (reply.find("\r\n") == std::string::npos) {
    std::array<char, 256> some{};
    const ssize_t count = ::recv(fd.Get(), some.data(), some.size(), 0);
    if (count <= 0) return Fail(Code::kUnavailable, "no reply of memcached");
    reply.append(some.data(), static_cast<std::size_t>(count));
  }
  return reply.substr(0, reply.find("\r\n"));
}

std::string MemcachedServer::Address() const { return fmt::format("127.0.0.1:{}", port_); }

}  // namespace sluice::test
