// What the requests of one mount share, whatever protocol they speak.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "sluice/origin/make_origin.h"
#include "sluice/origin/sigv4.h"
#include "sluice/ports/origin.h"

#include "credentials_provider.h"
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

  // Whether there is something to sign the next request with; false: not yet, ask again in a
  // moment. The error says why there will be nothing.
  virtual Result<bool> HasCredentials() { return true; }
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

  // Where a question led after redirects, so that the next one about the same key goes there at
  // once: a server may be slow to redirect, or count how often it is asked.
  struct Shortcut {
    std::string url;
    bool strayed = false;     // to another server: without credentials
    std::string linked_etag;  // what the redirecting server said of the version
    std::chrono::steady_clock::time_point until;
  };
  void KeepShortcut(const std::string& key, std::string url, bool strayed, std::string linked_etag);
  // Null when none is known or it is too old.
  [[nodiscard]] const Shortcut* ShortcutOf(const std::string& key) const;
  void DropShortcut(const std::string& key) { shortcuts_.erase(key); }

  // Whether there are other credentials than `used` (of the refused request), or will be.
  bool RenewCredentials(std::uint64_t used);
  // Grows with every renewal.
  [[nodiscard]] std::uint64_t Generation() const { return generation_; }
  // Full jitter: anything between 0 and the doubled-up bound.
  std::chrono::milliseconds Backoff(unsigned failures);

  [[nodiscard]] const OriginLimits& Limits() const { return limits_; }
  OriginMetrics& Metrics() { return metrics_; }
  [[nodiscard]] const platform::Log& Log() const { return log_; }

 protected:
  // Looks for other credentials than those that were refused, as by reading the secret files again.
  virtual Result<Renewal> RenewRefused() = 0;
  // The requests from now on are signed with others.
  void NoteNewCredentials() { ++generation_; }

 private:
  const OriginLimits limits_;
  std::uint64_t generation_ = 0;
  OriginMetrics metrics_;
  platform::Log log_;
  std::minstd_rand random_;
  std::map<std::string, Shortcut> shortcuts_;
};

}  // namespace sluice::origin
