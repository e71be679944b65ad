#include "sluice/platform/http_endpoint.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <httplib.h>

namespace sluice::platform {
namespace {

constexpr std::string_view kUnixScheme = "unix:";

}  // namespace

struct HttpEndpoint::Impl {
  httplib::Server server;
  std::jthread thread;
};

HttpEndpoint::HttpEndpoint(const Metrics& metrics, std::function<std::string()> ready)
    : impl_(std::make_unique<Impl>()) {
  auto& server = impl_->server;
  // Scrapes and probes are few; a pool per core would only cost memory.
  server.new_task_queue = [] { return new httplib::ThreadPool(2); };
  server.set_read_timeout(5);
  // The default, SO_REUSEPORT, would let two sidecars of one pod share a port and answer in turns.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_payload_max_length(4096);
  server.Get("/metrics", [&metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics.Render(), "text/plain; version=0.0.4");
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server.Get("/readyz",
             [ready = std::move(ready)](const httplib::Request&, httplib::Response& response) {
               const std::string reason = ready();
               response.status = reason.empty() ? 200 : 503;
               response.set_content(reason.empty() ? "ok\n" : reason + "\n", "text/plain");
             });
}

HttpEndpoint::~HttpEndpoint() { impl_->server.stop(); }

Result<int> HttpEndpoint::Start(const std::string& address) {
  auto& server = impl_->server;
  int port = 0;
  if (address.starts_with(kUnixScheme)) {
    const std::string path = address.substr(kUnixScheme.size());
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    server.set_address_family(AF_UNIX);
    if (!server.bind_to_port(path, 80)) {
      return Fail(Code::kUnavailable, fmt::format("listen on {}: {}", address, strerror(errno)));
    }
  } else {
    const auto colon = address.rfind(':');
    const std::string number = colon == std::string::npos ? "" : address.substr(colon + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port);
    if (number.empty() || error != std::errc() || end != number.data() + number.size() ||
        port < 0 || port > 65535) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("address '{}': write host:port, :port or unix:/path", address));
    }
    const std::string host = colon == 0 ? "0.0.0.0" : address.substr(0, colon);
    if (port == 0) {
      port = server.bind_to_any_port(host);
      if (port < 0) port = 0;
    } else if (!server.bind_to_port(host, port)) {
      port = 0;
    }
    if (port == 0) {
      return Fail(Code::kUnavailable, fmt::format("listen on {}: {}", address, strerror(errno)));
    }
  }
  impl_->thread = std::jthread([this] { impl_->server.listen_after_bind(); });
  // stop() is a no-op on a server whose loop has not begun, so begin it before anybody can stop us.
  while (!server.is_running()) std::this_thread::yield();
  return port;
}

Result<EndpointAnswer> AskEndpoint(const std::string& address, const std::string& path,
                                   std::chrono::milliseconds time) {
  if (!address.starts_with(kUnixScheme)) {
    return Fail(Code::kInvalidArgument, fmt::format("address '{}': write unix:/path", address));
  }
  const std::string socket = address.substr(kUnixScheme.size());
  if (socket.size() >= sizeof(sockaddr_un::sun_path)) {
    return Fail(Code::kInvalidArgument,
                fmt::format("address '{}': a socket's path has at most {} bytes", address,
                            sizeof(sockaddr_un::sun_path) - 1));
  }
  httplib::Client client(socket);
  client.set_address_family(AF_UNIX);
  client.set_connection_timeout(time);
  client.set_read_timeout(time);
  client.set_write_timeout(time);
  const auto answer = client.Get(path);
  if (!answer) {
    return Fail(Code::kUnavailable,
                fmt::format("{}: no answer: {}", address, httplib::to_string(answer.error())));
  }
  return EndpointAnswer{answer->status, answer->body};
}

}  // namespace sluice::platform
