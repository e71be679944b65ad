// HTTPS requests over a small pool of kept connections: the only file pair that knows httplib.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "sluice/core/result.h"
#include "sluice/kube/client.h"

namespace sluice::kube {

struct HttpRequest {
  std::string method = "GET";
  std::string target = {};  // path and query, already encoded
  std::string body = {};
  std::string content_type = {};
};

struct HttpResponse {
  int status = 0;
  std::string body;
  std::string retry_after;
};

// Threads: any. One attempt per call; who calls decides about repeating.
class HttpTransport {
 public:
  static Result<std::unique_ptr<HttpTransport>> Create(Config config, const ClientOptions& options);
  ~HttpTransport();

  // kUnavailable when no whole answer came, kDeadlineExceeded when the time was over.
  Result<HttpResponse> Exchange(const HttpRequest& request,
                                std::chrono::steady_clock::time_point deadline);
  // Hands the body of a 200 answer over as it arrives; `on_data` returning false ends the stream.
  // Stopped by `stop`: Ok with status 0. Other answers are returned whole.
  Result<HttpResponse> Stream(const HttpRequest& request, const std::stop_token& stop,
                              const std::function<bool(std::string_view)>& on_data);

 private:
  struct Impl;
  explicit HttpTransport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::kube
