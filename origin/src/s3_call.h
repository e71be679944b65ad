// The requests to an S3 server, with what to do when one fails.
#pragma once

#include <functional>
#include <random>
#include <string>

#include "sluice/core/s3_options.h"
#include "sluice/origin/sigv4.h"
#include "sluice/ports/origin.h"

#include "http_transport.h"
#include "origin_metrics.h"
#include "s3_response.h"

namespace sluice::origin {

// What the calls of one mount share. Used on the transport's thread only, once the transport runs.
class S3Context {
 public:
  S3Context(S3Options options, Credentials credentials, const OriginLimits& limits,
            platform::Metrics& metrics, platform::Log log);

  // A signed GET of `key` (of the bucket itself when empty).
  HttpRequest Request(const std::string& key, const Query& query, Headers headers);
  // Whether the secret files hold other credentials than `used` (of the refused request).
  bool RenewCredentials(std::uint64_t used);
  // Grows with every renewal.
  [[nodiscard]] std::uint64_t Generation() const { return generation_; }
  // Full jitter: anything between 0 and the doubled-up bound.
  std::chrono::milliseconds Backoff(unsigned failures);
  // "s3://bucket/key".
  [[nodiscard]] std::string Name(const std::string& key) const;

  [[nodiscard]] const S3Options& Options() const { return options_; }
  [[nodiscard]] const OriginLimits& Limits() const { return limits_; }
  OriginMetrics& Metrics() { return metrics_; }

 private:
  const S3Options options_;
  const OriginLimits limits_;
  Credentials credentials_;
  std::uint64_t generation_ = 0;
  SigV4 signer_;
  std::string host_;  // of the Host header
  OriginMetrics metrics_;
  platform::Log log_;
  std::minstd_rand random_;
};

// Retries, credentials, metrics and messages; the derived class says what to ask and what to keep.
class S3Call : public HttpCall {
 public:
  S3Call(S3Context& context, std::string operation, std::string key,
         std::chrono::steady_clock::time_point deadline);

  HttpRequest Prepare() final;
  bool OnHead(const HttpHead& head) final;
  bool OnBody(std::span<const std::byte> bytes) final;
  std::optional<std::chrono::milliseconds> OnAttemptEnd(const Attempt& attempt) final;
  void OnGiveUp(const Error& error) final;

 protected:
  virtual HttpRequest NextRequest() = 0;
  // Whether a successful answer is what was asked for.
  virtual std::optional<Verdict> Check(const HttpHead& head) = 0;
  // False: the owner wants no more.
  virtual bool Take(std::span<const std::byte> bytes) = 0;
  // The answer is complete below HTTP: is it for us, too?
  virtual std::optional<Verdict> CheckEnd() = 0;
  // Tells the owner. Called once.
  virtual void Deliver(Status status) = 0;

  S3Context& Context() { return context_; }
  [[nodiscard]] const std::string& Key() const { return key_; }
  // New bytes have come: the count of failures starts anew.
  void NoteProgress() { failures_ = 0; }

 private:
  // The verdict on a finished attempt; nothing when it succeeded.
  std::optional<Verdict> Judge(const Attempt& attempt);
  [[nodiscard]] Error Describe(Error error) const;

  S3Context& context_;
  const std::string operation_;
  const std::string key_;
  unsigned failures_ = 0;
  unsigned renewals_ = 0;
  std::uint64_t generation_ = 0;  // of the credentials that signed this attempt
  // Of the attempt under way:
  HttpHead head_;
  bool has_head_ = false;
  bool taking_ = false;     // the body is what was asked for
  bool cancelled_ = false;  // by the owner
  std::string error_body_;
  std::optional<Verdict> verdict_;
  std::optional<Error> last_error_;
};

// A ranged GET that goes on after a failure where it stopped.
class S3Read final : public S3Call {
 public:
  struct Question {
    std::string key;
    OriginObject object;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  // more than 0, within the object
  };
  S3Read(S3Context& context, Question question, ReadSink sink, ReadDone done);

 private:
  HttpRequest NextRequest() override;
  std::optional<Verdict> Check(const HttpHead& head) override;
  bool Take(std::span<const std::byte> bytes) override;
  std::optional<Verdict> CheckEnd() override;
  void Deliver(Status status) override;

  const OriginObject object_;
  std::uint64_t position_;
  const std::uint64_t end_;
  ReadSink sink_;
  ReadDone done_;
};

// A question to the bucket whose whole answer is kept (up to a bound).
class S3Fetch final : public S3Call {
 public:
  struct Question {
    std::string operation;  // for metrics: "list"
    Query query;
    std::size_t max_body = 0;
  };
  S3Fetch(S3Context& context, Question question, std::function<void(Result<std::string>)> done);

 private:
  HttpRequest NextRequest() override;
  std::optional<Verdict> Check(const HttpHead& head) override;
  bool Take(std::span<const std::byte> bytes) override;
  std::optional<Verdict> CheckEnd() override;
  void Deliver(Status status) override;

  const Question question_;
  std::function<void(Result<std::string>)> done_;
  std::string body_;
};

}  // namespace sluice::origin
