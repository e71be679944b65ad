#include "tls.h"

#include <sys/socket.h>

#include <cerrno>
#include <ctime>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "sluice/platform/read_file.h"

namespace sluice::pool {
namespace {

using platform::CertificatePtr;
using TlsContextPtr = platform::OpenSslPtr<SSL_CTX, SSL_CTX_free>;

constexpr std::size_t kLongestPem = 1U << 20;

tl::unexpected<Error> Refuse(std::string message) {
  return Fail(Code::kPermissionDenied, "TLS: " + std::move(message));
}

// OpenSSL's own sockets raise SIGPIPE where the worker has gone.
int BioWrite(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = ::send(static_cast<int>(BIO_get_fd(bio, nullptr)), data,
                              static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (sent < 0 && BIO_sock_should_retry(-1) != 0) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

// A socket BIO as OpenSSL has it, but for that.
const BIO_METHOD* SocketMethod() {
  static const BIO_METHOD* const kMethod = [] {
    const BIO_METHOD* const own = BIO_s_socket();
    BIO_METHOD* const method = BIO_meth_new(BIO_TYPE_SOCKET, "socket without SIGPIPE");
    BIO_meth_set_write(method, BioWrite);
    BIO_meth_set_read(method, BIO_meth_get_read(own));
    BIO_meth_set_ctrl(method, BIO_meth_get_ctrl(own));
    BIO_meth_set_create(method, BIO_meth_get_create(own));
    BIO_meth_set_destroy(method, BIO_meth_get_destroy(own));
    return method;
  }();
  return kMethod;
}

Result<std::string> Read(const std::string& path) {
  auto text = platform::ReadFile(path, kLongestPem);
  if (!text) return Refuse(text.error().message);
  return text;
}

Status Trust(SSL_CTX* context, const std::string& path) {
  SLUICE_TRY(text, Read(path), "trust");
  const auto authorities = platform::ParseCertificates(text);
  if (authorities.empty()) return Refuse(path + ": no certificate in it");
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  for (const CertificatePtr& authority : authorities) X509_STORE_add_cert(store, authority.get());
  ERR_clear_error();  // one that is there twice is no harm
  return Ok();
}

Status Present(SSL_CTX* context, const std::string& directory) {
  SLUICE_TRY(text, Read(directory + "/tls.crt"), "present");
  SLUICE_TRY(key_text, Read(directory + "/tls.key"), "present");
  const auto chain = platform::ParseCertificates(text);
  const platform::PrivateKeyPtr key = platform::ParsePrivateKey(key_text);
  if (chain.empty()) return Refuse(directory + "/tls.crt: no certificate in it");
  if (!key) return Refuse(directory + "/tls.key: no key in it, or an encrypted one");
  bool good = SSL_CTX_use_certificate(context, chain.front().get()) == 1;
  for (std::size_t i = 1; i < chain.size(); ++i) {
    good = good && SSL_CTX_add1_chain_cert(context, chain[i].get()) == 1;
  }
  // Also where both are good, but the files were replaced between our two looks: the next
  // connection finds them as they belong together.
  good = good && SSL_CTX_use_PrivateKey(context, key.get()) == 1;
  ERR_clear_error();
  if (!good) return Refuse(directory + ": tls.crt and tls.key do not belong together");
  return Ok();
}

// The first word of OpenSSL about it.
std::string_view Reason() {
  const unsigned long code = ERR_peek_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "failed" : reason;
}

}  // namespace

Result<TlsPtr> MakeTls(const std::string& directory, const std::string& worker, int fd) {
  ERR_clear_error();
  const TlsContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return Fail(Code::kUnavailable, "TLS: no memory");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // Replies say how long they are: an end that nobody announced cuts nothing off unseen.
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  // What could not be sent is sent from wherever it is by then.
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (auto status = Trust(context.get(), directory + "/ca.crt"); !status) {
    return Fail(status.error());
  }
  if (auto status = Present(context.get(), directory); !status) return Fail(status.error());

  TlsPtr tls(SSL_new(context.get()));
  BIO* const bio = tls ? BIO_new(SocketMethod()) : nullptr;
  if (bio == nullptr) return Fail(Code::kUnavailable, "TLS: no memory");
  BIO_set_fd(bio, fd, BIO_NOCLOSE);
  SSL_set_bio(tls.get(), bio, bio);
  SSL_set_hostflags(tls.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (SSL_set1_host(tls.get(), worker.c_str()) != 1 ||
      SSL_set_tlsext_host_name(tls.get(), worker.c_str()) != 1) {
    ERR_clear_error();
    return Refuse(fmt::format("\"{}\" is no name that a certificate could have", worker));
  }
  SSL_set_connect_state(tls.get());
  return tls;
}

Error TlsError(const SSL* tls, int error) {
  const int system = errno;
  const auto lost = [](std::string message) { return Error{Code::kUnavailable, message}; };
  if (error == SSL_ERROR_ZERO_RETURN) return lost("the worker closed the connection");
  if (error == SSL_ERROR_SYSCALL) {
    return lost(system == 0 ? "the worker closed the connection"
                            : fmt::format("TLS: {}", std::generic_category().message(system)));
  }
  if (error != SSL_ERROR_SSL) return lost("TLS: the worker asks for what no worker asks for");
  const long verdict = SSL_get_verify_result(tls);
  const std::string_view reason = Reason();
  ERR_clear_error();
  if (verdict == X509_V_ERR_HOSTNAME_MISMATCH) {
    const char* const name = SSL_get_servername(tls, TLSEXT_NAMETYPE_host_name);
    return {Code::kPermissionDenied, fmt::format("TLS: the worker's certificate does not name {}",
                                                 name == nullptr ? "it" : name)};
  }
  if (verdict != X509_V_OK) {
    return {Code::kPermissionDenied, fmt::format("TLS: the worker's certificate: {}",
                                                 X509_verify_cert_error_string(verdict))};
  }
  return {Code::kPermissionDenied, fmt::format("TLS: {}", reason)};
}

std::optional<std::chrono::system_clock::time_point> PeerCertificateEnd(const SSL* tls) {
  const X509* const certificate = SSL_get0_peer_certificate(tls);
  std::tm end{};
  if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) {
    return {};
  }
  return std::chrono::system_clock::from_time_t(timegm(&end));
}

}  // namespace sluice::pool
