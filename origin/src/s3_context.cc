#include "s3_context.h"

#include <utility>

#include <fmt/format.h>

#include "s3_response.h"

namespace sluice::origin {

S3Context::S3Context(S3Options options, std::unique_ptr<CredentialsProvider> credentials,
                     const OriginLimits& limits, platform::Metrics& metrics, platform::Log log)
    : OriginContext(limits, metrics, std::move(log)),
      options_(std::move(options)),
      provider_(std::move(credentials)),
      temporary_(provider_->Source() != "keys" && provider_->Source() != "anonymous"),
      signer_(options_.region) {
  host_ = options_.endpoint.substr(options_.endpoint.find("://") + 3);
  if (!options_.path_style) host_ = options_.bucket + "." + host_;
}

Result<bool> S3Context::HasCredentials() {
  auto current = provider_->Current();
  if (!current) return Fail(current.error());
  if (*current == nullptr) return false;
  if (credentials_ != *current) NoteNewCredentials();
  credentials_ = std::move(*current);
  return true;
}

HttpRequest S3Context::Request(const std::string& key, const Query& query, Headers headers) {
  return Signed({.key = key, .query = query, .plain_headers = std::move(headers)});
}

HttpRequest S3Context::Signed(const S3Message& message) {
  std::string path = "/";
  if (options_.path_style) path += options_.bucket + "/";
  path += UriEncode(message.key, /*keep_slash=*/true);

  HttpRequest request;
  request.method = message.method;
  request.url = options_.endpoint.substr(0, options_.endpoint.find("://") + 3) + host_ + path;
  if (!message.query.empty()) request.url += "?" + CanonicalQuery(message.query);
  request.headers = message.plain_headers;
  request.headers.emplace_back("Host", host_);
  Headers further = message.headers;  // that the signature covers, too
  if (options_.requester_pays) further.emplace_back("x-amz-request-payer", "requester");
  const Headers signature = signer_.Sign({.method = NameOf(message.method),
                                          .host = host_,
                                          .path = path,
                                          .query = &message.query,
                                          .payload_hash = message.payload_hash,
                                          .headers = &further},
                                         *credentials_, std::chrono::system_clock::now());
  request.headers.insert(request.headers.end(), further.begin(), further.end());
  request.headers.insert(request.headers.end(), signature.begin(), signature.end());
  return request;
}

Verdict S3Context::JudgeRefusal(const HttpHead& head, const std::string& body) const {
  return JudgeStatus(head.status, ParseS3Error(body),
                     temporary_ ? KeysOf::kIdentity : KeysOf::kSecret);
}

Result<Renewal> S3Context::RenewRefused() { return provider_->Renew(credentials_); }

std::string S3Context::Name(const std::string& key) const {
  return fmt::format("{}://{}/{}", options_.scheme, options_.bucket, key);
}

std::string S3Context::Place(const std::string& key) const {
  return fmt::format("{} at {}", Name(key), options_.endpoint);
}

}  // namespace sluice::origin
