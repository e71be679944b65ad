// TLS with a worker: what is trusted and shown, and what became of it in words.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <openssl/ssl.h>

#include "sluice/core/result.h"
#include "sluice/platform/openssl.h"

namespace sluice::pool {

using TlsPtr = platform::OpenSslPtr<SSL, SSL_free>;

// A client's end over the connected socket `fd`, which it neither owns nor blocks on: TLS 1.2 or
// later, the worker's certificate has to be of an authority in ca.crt and to name `worker`, and
// tls.crt with tls.key is shown to a worker that asks. The three files of `directory`, named as in
// a Secret of type kubernetes.io/tls, are read by this call. kPermissionDenied names the file that
// is of no use, never what is in it.
Result<TlsPtr> MakeTls(const std::string& directory, const std::string& worker, int fd);

// Why the last call on `tls` by this thread failed with `error` (SSL_get_error). kPermissionDenied
// where one side does not accept the other; kUnavailable for a connection that is lost.
Error TlsError(const SSL* tls, int error);

// When the worker's certificate ends; nothing before the handshake.
std::optional<std::chrono::system_clock::time_point> PeerCertificateEnd(const SSL* tls);

}  // namespace sluice::pool
