#include "http_transport.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <vector>

#include <fmt/format.h>
#include <httplib.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "sluice/platform/guarded.h"
#include "sluice/platform/openssl.h"

namespace sluice::kube {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kTokenMaxAge{10};
constexpr std::size_t kMaxTokenBytes = 64U << 10;
// A stream that is silent for longer has lost its peer: bookmarks come every minute.
constexpr std::chrono::seconds kStreamSilence{150};

// The socket's timeout may fire this much before the deadline that it was made from.
constexpr std::chrono::milliseconds kTimerSlack{20};

using platform::CertificatePtr;
using platform::PrivateKeyPtr;
using StorePtr = platform::OpenSslPtr<X509_STORE, X509_STORE_free>;

struct Endpoint {
  bool tls = true;
  std::string host;  // without brackets
  int port = 443;
};

Result<Endpoint> ParseServer(const std::string& server) {
  Endpoint endpoint;
  std::string_view rest = server;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    endpoint.tls = false;
    endpoint.port = 80;
  } else {
    return Fail(Code::kInvalidArgument,
                fmt::format("server '{}': write https://host:port", server));
  }
  while (rest.ends_with('/')) rest.remove_suffix(1);
  const auto bracket = rest.find(']');
  const auto colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    const auto number = rest.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), endpoint.port);
    if (error != std::errc() || end != number.data() + number.size() || endpoint.port < 1 ||
        endpoint.port > 65535) {
      return Fail(Code::kInvalidArgument, fmt::format("server '{}': bad port", server));
    }
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  if (rest.empty() || rest.find('/') != std::string_view::npos) {
    return Fail(Code::kInvalidArgument,
                fmt::format("server '{}': write https://host:port without a path", server));
  }
  endpoint.host = rest;
  return endpoint;
}

Result<std::vector<CertificatePtr>> ParseCertificates(const std::string& pem,
                                                      std::string_view what) {
  auto certificates = platform::ParseCertificates(pem);
  if (certificates.empty()) {
    return Fail(Code::kInvalidArgument, fmt::format("{}: no PEM certificate in it", what));
  }
  return certificates;
}

Result<PrivateKeyPtr> ParseKey(const std::string& pem) {
  PrivateKeyPtr key = platform::ParsePrivateKey(pem);
  if (!key) return Fail(Code::kInvalidArgument, "client key: no usable PEM private key in it");
  return key;
}

// Trust and identity, parsed once and given to every connection.
struct TlsMaterial {
  StorePtr trusted;
  std::vector<CertificatePtr> client_chain;
  PrivateKeyPtr client_key;
};

Result<TlsMaterial> ParseTls(const Config& config) {
  TlsMaterial tls;
  if (!config.ca_pem.empty()) {
    SLUICE_TRY(authorities, ParseCertificates(config.ca_pem, "certificate authority"), "TLS");
    tls.trusted.reset(X509_STORE_new());
    for (const auto& authority : authorities) {
      X509_STORE_add_cert(tls.trusted.get(), authority.get());
    }
  }
  if (!config.client_certificate_pem.empty()) {
    SLUICE_TRY(chain, ParseCertificates(config.client_certificate_pem, "client certificate"),
               "TLS");
    SLUICE_TRY(key, ParseKey(config.client_key_pem.Reveal()), "TLS");
    if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
      ERR_clear_error();
      return Fail(Code::kInvalidArgument,
                  "client certificate and client key do not belong together");
    }
    tls.client_chain = std::move(chain);
    tls.client_key = std::move(key);
  }
  return tls;
}

// OpenSSL verifies chain and name during the handshake. httplib's own check would also trust the
// system's authorities for a cluster that has its own.
void ConfigureTls(SSL_CTX* context, const Config& config, const TlsMaterial& tls,
                  const std::string& host) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (config.insecure_skip_tls_verify) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  } else {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    if (tls.trusted) {
      SSL_CTX_set1_cert_store(context, tls.trusted.get());
    } else {
      SSL_CTX_set_default_verify_paths(context);
    }
    const std::string& name = config.tls_server_name.empty() ? host : config.tls_server_name;
    X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(context);
    std::array<unsigned char, sizeof(in6_addr)> address{};
    if (inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
        inet_pton(AF_INET6, name.c_str(), address.data()) == 1) {
      X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str());
    } else {
      X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), name.size());
    }
  }
  if (tls.client_key) {
    SSL_CTX_use_certificate(context, tls.client_chain.front().get());
    for (std::size_t i = 1; i < tls.client_chain.size(); ++i) {
      SSL_CTX_add1_chain_cert(context, tls.client_chain[i].get());
    }
    SSL_CTX_use_PrivateKey(context, tls.client_key.get());
  }
}

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

struct Token {
  std::string value;
  steady_clock::time_point read_at;
};

}  // namespace

struct HttpTransport::Impl {
  Config config;
  ClientOptions options;
  Endpoint endpoint;
  TlsMaterial tls;
  platform::Guarded<std::vector<Connection>> idle;
  platform::Guarded<Token> token;

  [[nodiscard]] Connection Open() const;
  Connection Borrow();
  void GiveBack(Connection connection);
  std::string BearerToken();
  httplib::Request Prepare(const HttpRequest& request);
};

Connection HttpTransport::Impl::Open() const {
  Connection connection;
  if (endpoint.tls) {
    auto secure = std::make_unique<httplib::SSLClient>(endpoint.host, endpoint.port);
    secure->enable_server_certificate_verification(false);
    ConfigureTls(secure->ssl_context(), config, tls, endpoint.host);
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

std::string HttpTransport::Impl::BearerToken() {
  if (config.token_file.empty()) return config.token.Reveal();
  const auto now = steady_clock::now();
  const Token known = token.With([](const Token& value) { return value; });
  if (!known.value.empty() && now - known.read_at < kTokenMaxAge) return known.value;
  std::ifstream file(config.token_file);
  std::string fresh(kMaxTokenBytes, '\0');
  file.read(fresh.data(), static_cast<std::streamsize>(fresh.size()));
  fresh.resize(static_cast<std::size_t>(file.gcount()));
  while (!fresh.empty() && std::isspace(static_cast<unsigned char>(fresh.back())) != 0) {
    fresh.pop_back();
  }
  // Unreadable for a moment: the known one may still be good.
  if (fresh.empty()) return known.value;
  token.With([&](Token& value) { value = {fresh, now}; });
  return fresh;
}

httplib::Request HttpTransport::Impl::Prepare(const HttpRequest& request) {
  httplib::Request wire;
  wire.method = request.method;
  wire.path = request.target;
  wire.body = request.body;
  wire.set_header("Accept", "application/json");
  wire.set_header("User-Agent", options.user_agent);
  if (!request.content_type.empty()) wire.set_header("Content-Type", request.content_type);
  if (const std::string bearer = BearerToken(); !bearer.empty()) {
    wire.set_header("Authorization", "Bearer " + bearer);
  }
  return wire;
}

HttpTransport::HttpTransport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpTransport::~HttpTransport() = default;

Result<std::unique_ptr<HttpTransport>> HttpTransport::Create(Config config,
                                                             const ClientOptions& options) {
  SLUICE_TRY(endpoint, ParseServer(config.server), "API server");
  SLUICE_TRY(tls, ParseTls(config), "API server " + config.server);
  auto impl = std::make_unique<Impl>();
  impl->config = std::move(config);
  impl->options = options;
  impl->endpoint = std::move(endpoint);
  impl->tls = std::move(tls);
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
                  fmt::format("no answer from {} in time", impl_->config.server));
    }
    return Fail(Code::kUnavailable,
                fmt::format("{}: {}", impl_->config.server, TransportMessage(error)));
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
                fmt::format("{}: {}", impl_->config.server, TransportMessage(error)));
  }
  return response;
}

}  // namespace sluice::kube
