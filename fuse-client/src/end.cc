#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "sluice/fuse_client/client.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::fuse_client {
namespace {

constexpr std::string_view kUnixSocket = "unix:";

// Who listens at the socket, by the kernel's own word.
Result<pid_t> ListenerOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Fail(Code::kInvalidArgument, fmt::format("end: {} is too long for a socket", path));
  }
  path.copy(static_cast<char*>(address.sun_path), path.size());
  const platform::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (::connect(fd.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::getsockopt(fd.Get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return Fail(Code::kUnavailable,
                fmt::format("end: no client at {}: {}", path, std::strerror(errno)));
  }
  // 0: a process that this PID namespace doesn't show.
  if (peer.pid <= 0) {
    return Fail(Code::kUnavailable, fmt::format("end: the client at {} is out of sight", path));
  }
  return peer.pid;
}

}  // namespace

Status AskToEnd(const Options& options) {
  Status asked = Fail(Code::kInvalidArgument, "end: give --metrics unix:/path of the client");
  for (const std::string& address : options.metrics_addresses) {
    if (!address.starts_with(kUnixSocket)) continue;  // a port may be another client's
    const std::string path = address.substr(kUnixSocket.size());
    auto pid = ListenerOf(path);
    if (!pid) {
      asked = Fail(pid.error());
      continue;
    }
    if (::kill(*pid, SIGTERM) == 0) return Ok();
    asked = Fail(errno == EPERM ? Code::kPermissionDenied : Code::kUnavailable,
                 fmt::format("end: the client at {}: {}", path, std::strerror(errno)));
  }
  return asked;
}

}  // namespace sluice::fuse_client
