// What the requests of one mount share, whatever protocol they speak.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "sluice/origin/make_origin.h"
#include "sluice/origin/sigv4.h"
#include "sluice/ports/origin.h"

#include "http_response.h"
#include "http_transport.h"
#include "origin_metrics.h"

namespace sluice::origin {

// Used on the transport's thread only, once the transport runs, but for what is const.
class OriginContext {
 public:
  OriginContext(const OriginLimits& limits, platform::Metrics& metrics, platform::Log log);
  virtual ~OriginContext() = default;
  OriginContext(const OriginContext&) = delete;
  OriginContext& operator=(const OriginContext&) = delete;

  // A GET of `key`, with the credentials. What a key is, the protocol says.
  virtual HttpRequest Request(const std::string& key, const Query& query, Headers headers) = 0;
  // The headers of a read that make the server refuse when the object is no longer this version.
  [[nodiscard]] virtual Headers ConditionOf(const OriginObject& object) const;
  // Whether a successful answer carries exactly these bytes of this version.
  [[nodiscard]] virtual std::optional<Verdict> CheckRead(const HttpHead& head,
                                                         const OriginObject& object,
                                                         std::uint64_t offset,
                                                         std::uint64_t length) const;
  // Of an answer that is no success; `body` is its beginning.
  [[nodiscard]] virtual Verdict JudgeRefusal(const HttpHead& head,
                                             const std::string& body) const = 0;
  // The object and where it was looked for, for messages: "s3://bucket/key at https://…".
  [[nodiscard]] virtual std::string Place(const std::string& key) const = 0;
  // Whether redirects are followed; when not, they are refusals.
  [[nodiscard]] virtual bool FollowsRedirects() const { return false; }

  // Whether the secret files hold other credentials than `used` (of the refused request).
  bool RenewCredentials(std::uint64_t used);
  // Grows with every renewal.
  [[nodiscard]] std::uint64_t Generation() const { return generation_; }
  // Full jitter: anything between 0 and the doubled-up bound.
  std::chrono::milliseconds Backoff(unsigned failures);

  [[nodiscard]] const OriginLimits& Limits() const { return limits_; }
  OriginMetrics& Metrics() { return metrics_; }
  [[nodiscard]] const platform::Log& Log() const { return log_; }

 protected:
  // Reads the secret files again; whether they hold something else now.
  virtual Result<bool> ReadCredentialsAgain() = 0;

 private:
  const OriginLimits limits_;
  std::uint64_t generation_ = 0;
  OriginMetrics metrics_;
  platform::Log log_;
  std::minstd_rand random_;
};

}  // namespace sluice::origin
