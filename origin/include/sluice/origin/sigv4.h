// AWS Signature Version 4 in the Authorization header, for S3 and those who speak its protocol.
// Pure: the time is an argument.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/platform/log.h"

namespace sluice::origin {

struct Credentials {
  std::string access_key_id;  // empty: anonymous, nothing is signed
  platform::Secret secret_access_key;
  platform::Secret session_token;  // empty: none
};

// Query parameters before encoding; order does not matter.
using Query = std::vector<std::pair<std::string, std::string>>;
using Headers = std::vector<std::pair<std::string, std::string>>;  // "Name", "value"

struct SignableRequest {
  std::string_view method = "GET";
  std::string_view host;  // as in the Host header, with the port if it is not the default
  std::string_view path;  // encoded, beginning with '/'
  const Query* query = nullptr;
  // Hex SHA-256 of the body, or "UNSIGNED-PAYLOAD".
  std::string_view payload_hash;
  const Headers* headers = nullptr;  // further headers to sign
};

// SHA-256 of no bytes at all, for requests without a body.
inline constexpr std::string_view kEmptyPayloadHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// Percent-encodes all but unreserved characters (RFC 3986), and '/' too unless `keep_slash`.
std::string UriEncode(std::string_view text, bool keep_slash);
// "a=1&b=2", encoded and in canonical order: what is signed is what is sent.
std::string CanonicalQuery(const Query& query);
std::string Sha256Hex(std::string_view data);

// Signs for one region and service. Keeps the signing key of the day. Threads: one at a time.
class SigV4 {
 public:
  explicit SigV4(std::string region, std::string service = "s3");

  // The headers to add: X-Amz-Date, X-Amz-Content-Sha256 (S3 only), X-Amz-Security-Token when there
  // is a token, Authorization. The Host header is signed but not among them.
  [[nodiscard]] Headers Sign(const SignableRequest& request, const Credentials& credentials,
                             std::chrono::system_clock::time_point now);

 private:
  const std::string& SigningKey(const Credentials& credentials, const std::string& date);

  std::string region_;
  std::string service_;
  std::string key_date_;
  std::string key_id_;
  platform::Secret key_secret_;
  std::string key_;
};

}  // namespace sluice::origin
