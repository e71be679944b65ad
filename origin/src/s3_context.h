// The S3 protocol's part of a request: where it goes, its signature, and what a refusal means.
#pragma once

#include <string>

#include "sluice/core/s3_options.h"
#include "sluice/origin/sigv4.h"

#include "origin_context.h"

namespace sluice::origin {

// Keys are the bucket's own, unencoded; "" is the bucket itself.
class S3Context final : public OriginContext {
 public:
  S3Context(S3Options options, Credentials credentials, const OriginLimits& limits,
            platform::Metrics& metrics, platform::Log log);

  HttpRequest Request(const std::string& key, const Query& query, Headers headers) override;
  [[nodiscard]] Verdict JudgeRefusal(const HttpHead& head, const std::string& body) const override;
  [[nodiscard]] std::string Place(const std::string& key) const override;

  // "s3://bucket/key".
  [[nodiscard]] std::string Name(const std::string& key) const;
  [[nodiscard]] const S3Options& Options() const { return options_; }

 private:
  Result<bool> ReadCredentialsAgain() override;

  const S3Options options_;
  Credentials credentials_;
  SigV4 signer_;
  std::string host_;  // of the Host header
};

}  // namespace sluice::origin
