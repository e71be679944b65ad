#include "http_transport.h"

#include <vector>

#include <fmt/format.h>
#include <httplib.h>
#include <openssl/err.h>

#include "sluice/platform/guarded.h"

#include "server_access.h"

namespace sluice::kube {
namespace {

using std::chrono::steady_clock;

// A stream that is silent for longer has lost its peer: bookmarks come every minute.
constexpr std::chrono::seconds kStreamSilence{150};

// The socket's timeout may fire this much before the deadline that it was made from.
constexpr std::chrono::milliseconds kTimerSlack{20};

std::string TransportMessage(httplib::Error error) {
  std::string text = httplib::to_string(error);
  if (error == httplib::Error::SSLConnection) {
    // The first error is the cause, those after it only its consequences.
    if (const char* reason = ERR_reason_error_string(ERR_peek_error())) {
      text += fmt::format(" ({})", reason);
    }
  }
  ERR_clear_error();
  return text;
}

using Connection = std::unique_ptr<httplib::ClientImpl>;

}  // namespace

struct HttpTransport::Impl {
  std::unique_ptr<ServerAccess> server;
  ClientOptions options;
  platform::Guarded<std::vector<Connection>> idle;

  [[nodiscard]] Connection Open() const;
  Connection Borrow();
  void GiveBack(Connection connection);
  httplib::Request Prepare(const HttpRequest& request);
};

Connection HttpTransport::Impl::Open() const {
  Connection connection;
  const Endpoint& endpoint = server->Where();
  if (endpoint.tls) {
    auto secure = std::make_unique<httplib::SSLClient>(endpoint.host, endpoint.port);
    secure->enable_server_certificate_verification(false);
    server->ConfigureTls(secure->ssl_context());
    connection = std::move(secure);
  } else {
    connection = std::make_unique<httplib::ClientImpl>(endpoint.host, endpoint.port);
  }
  connection->set_keep_alive(true);
  connection->set_tcp_nodelay(true);
  connection->set_url_encode(false);
  connection->set_connection_timeout(options.connect_timeout);
  connection->set_write_timeout(options.deadline);
  return connection;
}

Connection HttpTransport::Impl::Borrow() {
  Connection connection = idle.With([](auto& connections) -> Connection {
    if (connections.empty()) return nullptr;
    Connection last = std::move(connections.back());
    connections.pop_back();
    return last;
  });
  return connection ? std::move(connection) : Open();
}

void HttpTransport::Impl::GiveBack(Connection connection) {
  idle.With([&](auto& connections) {
    if (connections.size() < options.idle_connections) {
      connections.push_back(std::move(connection));
    }
  });
}

httplib::Request HttpTransport::Impl::Prepare(const HttpRequest& request) {
  httplib::Request wire;
  wire.method = request.method;
  wire.path = request.target;
  wire.body = request.body;
  wire.set_header("Accept", "application/json");
  wire.set_header("User-Agent", options.user_agent);
  if (!request.content_type.empty()) wire.set_header("Content-Type", request.content_type);
  if (const std::string bearer = server->BearerToken(); !bearer.empty()) {
    wire.set_header("Authorization", "Bearer " + bearer);
  }
  return wire;
}

HttpTransport::HttpTransport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpTransport::~HttpTransport() = default;

Result<std::unique_ptr<HttpTransport>> HttpTransport::Create(Config config,
                                                             const ClientOptions& options) {
  auto server = ServerAccess::Create(std::move(config));
  if (!server) return Fail(server.error());
  auto impl = std::make_unique<Impl>();
  impl->server = std::move(*server);
  impl->options = options;
  return std::unique_ptr<HttpTransport>(new HttpTransport(std::move(impl)));
}

Result<HttpResponse> HttpTransport::Exchange(const HttpRequest& request,
                                             steady_clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
  if (left.count() <= 0) return Fail(Code::kDeadlineExceeded, "no time left to ask the API server");
  httplib::Request wire = impl_->Prepare(request);
  HttpResponse response;
  bool too_large = false;
  wire.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    too_large = response.body.size() + size > impl_->options.max_body_bytes;
    if (too_large || steady_clock::now() > deadline) return false;
    response.body.append(data, size);
    return true;
  };
  Connection connection = impl_->Borrow();
  connection->set_read_timeout(left);
  httplib::Response answer;
  httplib::Error error = httplib::Error::Success;
  if (!connection->send(wire, answer, error)) {
    if (too_large) {
      return Fail(Code::kInternal,
                  fmt::format("the answer is larger than {} bytes", impl_->options.max_body_bytes));
    }
    if (steady_clock::now() + kTimerSlack >= deadline) {
      return Fail(Code::kDeadlineExceeded,
                  fmt::format("no answer from {} in time", impl_->server->Name()));
    }
    return Fail(Code::kUnavailable,
                fmt::format("{}: {}", impl_->server->Name(), TransportMessage(error)));
  }
  response.status = answer.status;
  response.retry_after = answer.get_header_value("Retry-After");
  impl_->GiveBack(std::move(connection));
  return response;
}

Result<HttpResponse> HttpTransport::Stream(const HttpRequest& request, const std::stop_token& stop,
                                           const std::function<bool(std::string_view)>& on_data) {
  httplib::Request wire = impl_->Prepare(request);
  HttpResponse response;
  bool ended_by_reader = false;
  wire.response_handler = [&](const httplib::Response& head) {
    response.status = head.status;
    response.retry_after = head.get_header_value("Retry-After");
    return !stop.stop_requested();
  };
  wire.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    if (stop.stop_requested()) return false;
    if (response.status == 200) {
      ended_by_reader = !on_data({data, size});
      return !ended_by_reader;
    }
    if (response.body.size() + size > impl_->options.max_event_bytes) return false;
    response.body.append(data, size);
    return true;
  };
  // A connection of its own: it is busy for minutes and closed at the end.
  const Connection connection = impl_->Open();
  connection->set_keep_alive(false);
  connection->set_read_timeout(kStreamSilence);
  const std::stop_callback cut(stop, [&] { connection->stop(); });
  if (stop.stop_requested()) return HttpResponse{};
  httplib::Response answer;
  httplib::Error error = httplib::Error::Success;
  const bool complete = connection->send(wire, answer, error);
  if (stop.stop_requested()) return HttpResponse{};
  if (!complete && !ended_by_reader && (response.status == 200 || response.body.empty())) {
    return Fail(Code::kUnavailable,
                fmt::format("{}: {}", impl_->server->Name(), TransportMessage(error)));
  }
  return response;
}

}  // namespace sluice::kube
