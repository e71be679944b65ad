#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "sluice/fuse_client/client.h"
#include "sluice/platform/http_endpoint.h"
#include "sluice/platform/mount.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::fuse_client {
namespace {

constexpr int kPatienceMs = 2000;
constexpr std::chrono::milliseconds kReasonPatience{500};
constexpr std::chrono::milliseconds kAskAgainAfter{100};

// In the child: asks the server, whatever the kernel has cached. Exits with the errno.
[[noreturn]] void AskServer(const char* path) {
  // Who waits for the end of our parent's output must not wait for us, should the stat hang.
  for (int fd = 0; fd <= 2; ++fd) ::close(fd);
  struct statx info = {};
  const int result =
      ::statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &info);
  ::_exit(result == 0 ? 0 : errno & 0x7f);
}

Status CheckAnswer(const std::string& path) {
  SLUICE_TRY(mount, platform::FindMount(path), "check");
  if (!mount.fs_type.starts_with("fuse")) {
    return Fail(Code::kNotFound,
                fmt::format("check: {} is a mount of type {}, not FUSE", path, mount.fs_type));
  }
  const pid_t child = ::fork();
  if (child < 0) return Fail(Code::kInternal, fmt::format("check: fork: {}", std::strerror(errno)));
  if (child == 0) AskServer(path.c_str());
  const platform::UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd wait = {handle.Get(), POLLIN, 0};
  if (::poll(&wait, 1, kPatienceMs) != 1) {
    ::kill(child, SIGKILL);  // it may sleep on in the kernel; it is not waited for
    return Fail(Code::kDeadlineExceeded,
                fmt::format("check: {} did not answer within {} ms", path, kPatienceMs));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status == 0) return Ok();
  return Fail(Code::kUnavailable,
              fmt::format("check: stat {}: {}", path,
                          WIFEXITED(status) ? std::strerror(WEXITSTATUS(status)) : "killed"));
}

// What the first client that answers says of itself, nothing if it sees no fault; else why none
// answers.
std::string WhyNotReady(const std::vector<std::string>& addresses) {
  std::string reason;
  for (const std::string& address : addresses) {
    if (!address.starts_with("unix:")) continue;  // a port may be another client's
    const auto answer = platform::AskEndpoint(address, "/readyz", kReasonPatience);
    if (answer && answer->status == 200) return "";
    if (answer) return answer->body.substr(0, answer->body.find('\n'));
    reason = answer.error().message;
  }
  return reason;
}

}  // namespace

Status CheckMount(const Options& options) {
  const auto deadline = std::chrono::steady_clock::now() + options.check_wait;
  Status alive = CheckAnswer(options.check_path);
  while (!alive && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kAskAgainAfter);
    alive = CheckAnswer(options.check_path);
  }
  if (alive) return alive;
  const std::string reason = WhyNotReady(options.metrics_addresses);
  if (reason.empty()) return alive;
  return Fail(alive.error().code, fmt::format("not ready: {} ({})", reason, alive.error().message));
}

}  // namespace sluice::fuse_client
