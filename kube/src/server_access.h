// A configuration made ready for connections: where the API server is, whom to trust, who we are.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <openssl/ssl.h>

#include "sluice/kube/config.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/openssl.h"

namespace sluice::kube {

struct Endpoint {
  bool tls = true;
  std::string host;  // without brackets
  int port = 443;
};

bool IsIpAddress(const std::string& host);

// Threads: any.
class ServerAccess {
 public:
  // kInvalidArgument for a server URL, certificate or key that cannot be used.
  static Result<std::unique_ptr<ServerAccess>> Create(Config config);

  [[nodiscard]] const Endpoint& Where() const { return endpoint_; }
  // The server as the configuration spells it, for messages.
  [[nodiscard]] const std::string& Name() const { return config_.server; }
  // What a TLS client checks and shows; the library checks chain and name during the handshake.
  void ConfigureTls(SSL_CTX* context) const;
  // Empty when there is none. Reads the token's file when what is known is old.
  std::string BearerToken();

 private:
  using StorePtr = platform::OpenSslPtr<X509_STORE, X509_STORE_free>;
  struct Token {
    std::string value;
    std::chrono::steady_clock::time_point read_at;
  };

  ServerAccess() = default;
  Status ParseTls();

  Config config_;
  Endpoint endpoint_;
  // Parsed once and given to every connection.
  StorePtr trusted_;
  std::vector<platform::CertificatePtr> client_chain_;
  platform::PrivateKeyPtr client_key_;
  platform::Guarded<Token> token_;
};

}  // namespace sluice::kube
