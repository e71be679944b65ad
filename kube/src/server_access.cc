#include "server_access.h"

#include <arpa/inet.h>

#include <array>
#include <cctype>
#include <charconv>
#include <fstream>
#include <string_view>

#include <fmt/format.h>
#include <openssl/err.h>

namespace sluice::kube {
namespace {

using std::chrono::steady_clock;

using platform::CertificatePtr;
using platform::PrivateKeyPtr;

constexpr std::chrono::seconds kTokenMaxAge{10};
constexpr std::size_t kMaxTokenBytes = 64U << 10;

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

}  // namespace

bool IsIpAddress(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

Result<std::unique_ptr<ServerAccess>> ServerAccess::Create(Config config) {
  std::unique_ptr<ServerAccess> access(new ServerAccess);
  access->config_ = std::move(config);
  SLUICE_TRY(endpoint, ParseServer(access->Name()), "API server");
  access->endpoint_ = std::move(endpoint);
  SLUICE_CHECK(access->ParseTls(), "API server " + access->Name());
  return access;
}

Status ServerAccess::ParseTls() {
  if (!config_.ca_pem.empty()) {
    SLUICE_TRY(authorities, ParseCertificates(config_.ca_pem, "certificate authority"), "TLS");
    trusted_.reset(X509_STORE_new());
    for (const auto& authority : authorities) {
      X509_STORE_add_cert(trusted_.get(), authority.get());
    }
  }
  if (!config_.client_certificate_pem.empty()) {
    SLUICE_TRY(chain, ParseCertificates(config_.client_certificate_pem, "client certificate"),
               "TLS");
    SLUICE_TRY(key, ParseKey(config_.client_key_pem.Reveal()), "TLS");
    if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
      ERR_clear_error();
      return Fail(Code::kInvalidArgument,
                  "client certificate and client key do not belong together");
    }
    client_chain_ = std::move(chain);
    client_key_ = std::move(key);
  }
  return Ok();
}

void ServerAccess::ConfigureTls(SSL_CTX* context) const {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (config_.insecure_skip_tls_verify) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  } else {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    // Not the system's authorities for a cluster that has its own.
    if (trusted_) {
      SSL_CTX_set1_cert_store(context, trusted_.get());
    } else {
      SSL_CTX_set_default_verify_paths(context);
    }
    const std::string& name =
        config_.tls_server_name.empty() ? endpoint_.host : config_.tls_server_name;
    X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(context);
    if (IsIpAddress(name)) {
      X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str());
    } else {
      X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), name.size());
    }
  }
  if (client_key_) {
    SSL_CTX_use_certificate(context, client_chain_.front().get());
    for (std::size_t i = 1; i < client_chain_.size(); ++i) {
      SSL_CTX_add1_chain_cert(context, client_chain_[i].get());
    }
    SSL_CTX_use_PrivateKey(context, client_key_.get());
  }
}

std::string ServerAccess::BearerToken() {
  if (config_.token_file.empty()) return config_.token.Reveal();
  const auto now = steady_clock::now();
  const Token known = token_.With([](const Token& value) { return value; });
  if (!known.value.empty() && now - known.read_at < kTokenMaxAge) return known.value;
  std::ifstream file(config_.token_file);
  std::string fresh(kMaxTokenBytes, '\0');
  file.read(fresh.data(), static_cast<std::streamsize>(fresh.size()));
  fresh.resize(static_cast<std::size_t>(file.gcount()));
  while (!fresh.empty() && std::isspace(static_cast<unsigned char>(fresh.back())) != 0) {
    fresh.pop_back();
  }
  // Unreadable for a moment: the known one may still be good.
  if (fresh.empty()) return known.value;
  token_.With([&](Token& value) { value = {fresh, now}; });
  return fresh;
}

}  // namespace sluice::kube
