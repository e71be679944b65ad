// HTTPS for one handler: TLS 1.2 or later, a certificate that can be exchanged while connections
// are open, bounded threads, bodies and times.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/core/result.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"

namespace sluice::webhook {

struct TlsServerOptions {
  std::string path;                       // everything else is 404
  std::size_t max_threads = 64;           // handshakes and requests at a time
  std::size_t max_body_bytes = 7U << 20;  // a body of this size or more is not read
  std::chrono::seconds request_time{10};  // from the first byte of a request to its last
  std::chrono::seconds handshake_time{5};
  // Connections between two requests. Closing one loses a request that is on its way, so it comes
  // late: after a time that is longer than the API server keeps a connection, or when too many
  // wait for their peer and more than half of them are such: then for the one that waits longest.
  std::chrono::seconds idle_time{100};
  std::size_t max_idle = 512;
};

// Gets Content-Type and body, returns the response's body; its HTTP status is always 200. A body
// that is too large is handed over cut off at the limit, so that the handler can answer it.
// Called from many threads; must not throw.
using ReviewHandler =
    std::function<std::string(std::string_view content_type, std::string_view body)>;

class TlsServer {
 public:
  TlsServer(TlsServerOptions options, ReviewHandler handler, platform::Log log,
            platform::Metrics& metrics);
  ~TlsServer();  // stops

  // PEM texts. Connections made from now on see this certificate; open ones go on. The first call
  // must come before Start. Threads: any.
  Status UseCertificate(const std::string& certificate, const std::string& key);

  // Listens on `host`; port 0 picks one. Returns the port.
  Result<int> Start(const std::string& host, int port);

  // Closes connections between two requests, lets requests that run or are arriving end (the latter
  // in their time), and returns when all have.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::webhook
