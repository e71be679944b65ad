// The plain-HTTP side door of every daemon: /metrics, /healthz, /readyz.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/metrics.h"

namespace sluice::platform {

// Serves on its own threads from Start until destruction.
class HttpEndpoint {
 public:
  // `ready` answers /readyz: empty string for 200, else 503 with that text. Called from any thread.
  HttpEndpoint(const Metrics& metrics, std::function<std::string()> ready);
  ~HttpEndpoint();

  // `address` is "host:port", ":port" or "unix:/path"; port 0 picks one. Returns the bound port (0
  // for a Unix socket).
  Result<int> Start(const std::string& address);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct EndpointAnswer {
  int status = 0;  // 200, 503, …
  std::string body;
};

// Asks the endpoint at `address`, "unix:/path", for `path`, such as "/readyz". kUnavailable names
// the address and the cause when there is no answer in time.
Result<EndpointAnswer> AskEndpoint(const std::string& address, const std::string& path,
                                   std::chrono::milliseconds time);

}  // namespace sluice::platform
