// The S3 protocol's part of a request: where it goes, its signature, and what a refusal means.
#pragma once

#include <memory>
#include <string>

#include "sluice/core/s3_options.h"
#include "sluice/origin/sigv4.h"

#include "credentials_provider.h"
#include "origin_context.h"

namespace sluice::origin {

// A request as it is to be signed.
struct S3Message {
  Method method = Method::kGet;
  std::string key;
  Query query{};
  Headers headers{};        // x-amz-…: covered by the signature
  Headers plain_headers{};  // others
  std::string payload_hash = std::string(kEmptyPayloadHash);
};

// Keys are the bucket's own, unencoded; "" is the bucket itself.
class S3Context final : public OriginContext {
 public:
  S3Context(S3Options options, std::unique_ptr<CredentialsProvider> credentials,
            const OriginLimits& limits, platform::Metrics& metrics, platform::Log log);

  Result<bool> HasCredentials() override;
  HttpRequest Request(const std::string& key, const Query& query, Headers headers) override;
  HttpRequest Signed(const S3Message& message);
  [[nodiscard]] Verdict JudgeRefusal(const HttpHead& head, const std::string& body) const override;
  [[nodiscard]] std::string Place(const std::string& key) const override;

  // "s3://bucket/key".
  [[nodiscard]] std::string Name(const std::string& key) const;
  [[nodiscard]] const S3Options& Options() const { return options_; }

 private:
  Result<Renewal> RenewRefused() override;

  const S3Options options_;
  const std::unique_ptr<CredentialsProvider> provider_;
  const bool temporary_;           // the provider renews them by itself
  SharedCredentials credentials_;  // of the next request; null before the first
  SigV4 signer_;
  std::string host_;  // of the Host header
};

}  // namespace sluice::origin
