// Many HTTP requests at once on one thread: libcurl's multi interface with keep-alive, a bound on
// connections and bandwidth, delayed restarts, second requests for slow ones, and stall and
// deadline checks. Knows no protocol above HTTP.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/origin/make_origin.h"
#include "sluice/origin/sigv4.h"

#include "http_response.h"

namespace sluice::origin {

enum class Method { kGet, kHead, kPut, kPost, kDelete };
const char* NameOf(Method method);  // "GET"

struct HttpRequest {
  std::string url;
  Headers headers;
  Headers credentials{};  // headers for the server of `url` only: a redirect drops them
  Method method = Method::kGet;
  std::shared_ptr<const std::vector<std::byte>> body{};  // of PUT and POST; null: empty
  // How long the server may be silent, where that is longer than usual: it has to store what it
  // got before it answers.
  std::chrono::milliseconds patience{0};
};

// How an attempt ended, below HTTP.
enum class Outcome {
  kNotSent,    // the call had no request to send
  kComplete,   // the whole answer was received
  kAbandoned,  // OnHead or OnBody said so
  kNoConnection,
  kUnknownHost,
  kUntrusted,  // certificate or TLS handshake
  kBroken,     // reset, short body, garbage
  kStalled,    // no byte for the stall timeout
};

struct Attempt {
  Outcome outcome = Outcome::kBroken;
  std::string detail;  // libcurl's words; no credentials
  std::chrono::duration<double> took{};
};

// One thing to be done, over one or several attempts. All methods are called on the transport's
// thread and must not block.
class HttpCall {
 public:
  explicit HttpCall(std::chrono::steady_clock::time_point deadline) : deadline_(deadline) {}
  virtual ~HttpCall() = default;
  HttpCall(const HttpCall&) = delete;
  HttpCall& operator=(const HttpCall&) = delete;

  // The request of the next attempt. Nothing when there is none to be sent now: OnAttemptEnd is
  // next.
  virtual std::optional<HttpRequest> Prepare() = 0;
  // The headers of the answer are there. False ends the attempt.
  virtual bool OnHead(const HttpHead& head) = 0;
  virtual bool OnBody(std::span<const std::byte> bytes) = 0;
  // Either finishes the call (tells its owner) and returns nothing, or asks for another attempt
  // after a delay.
  virtual std::optional<std::chrono::milliseconds> OnAttemptEnd(const Attempt& attempt) = 0;
  // The last call instead of OnAttemptEnd: the deadline is over or the transport ends.
  virtual void OnGiveUp(const Error& error) = 0;

  // Whether the transport may send a request of this call twice when its answer is late. The call
  // sees one answer only: the first one that has come.
  [[nodiscard]] virtual bool MayBeHedged() const { return false; }
  // A second request was sent, and its answer was the first.
  virtual void OnHedge() {}
  virtual void OnHedgeWon() {}
  // Bytes that had come were held back so long by the origin's limit of bandwidth.
  virtual void OnThrottled(std::chrono::duration<double> /*time*/) {}

  [[nodiscard]] std::chrono::steady_clock::time_point Deadline() const { return deadline_; }

 private:
  std::chrono::steady_clock::time_point deadline_;
};

// Threads: Submit from any; everything else happens on its own thread, from construction to
// destruction. Must not be destroyed from a callback.
class HttpTransport {
 public:
  HttpTransport(const OriginLimits& limits, std::string ca_file);
  ~HttpTransport();  // gives up all calls

  // kUnavailable when too many calls wait; the call is then dropped without a callback.
  Status Submit(std::unique_ptr<HttpCall> call);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::origin
