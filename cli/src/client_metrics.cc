#include "client_metrics.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include <fmt/format.h>

#include "sluice/platform/unique_fd.h"

namespace sluice::cli {
namespace {

constexpr std::size_t kMaxAnswer = 4U << 20;

}  // namespace

std::map<std::string, double> ParseExposition(const std::string& text) {
  std::map<std::string, double> series;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos || space == 0) continue;
    const char* const begin = line.c_str() + space + 1;
    char* end = nullptr;
    const double value = std::strtod(begin, &end);
    if (end != begin) series[line.substr(0, space)] = value;
  }
  return series;
}

Result<std::map<std::string, double>> FetchMetrics(const std::string& socket_path) {
  const platform::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit = {.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(socket.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket.Get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) {
    return Fail(Code::kInvalidArgument, "socket path too long: " + socket_path);
  }
  socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const std::string request = "GET /metrics HTTP/1.0\r\nHost: client\r\n\r\n";
  if (::connect(socket.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::send(socket.Get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return Fail(Code::kUnavailable, fmt::format("metrics: {}", std::strerror(errno)));
  }
  std::string answer;
  char buffer[16384];
  while (answer.size() < kMaxAnswer) {
    const ssize_t n = ::recv(socket.Get(), buffer, sizeof(buffer), 0);
    if (n <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(n));
  }
  const auto body = answer.find("\r\n\r\n");
  if (body == std::string::npos) return Fail(Code::kUnavailable, "metrics: no answer");
  return ParseExposition(answer.substr(body + 4));
}

}  // namespace sluice::cli
