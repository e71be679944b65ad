#include "sluice/origin/sigv4.h"

#include <algorithm>
#include <array>
#include <ctime>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "url.h"

namespace sluice::origin {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr char kHexLower[] = "0123456789abcdef";
constexpr char kHexUpper[] = "0123456789ABCDEF";

std::string Hex(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += kHexLower[byte >> 4];
    out += kHexLower[byte & 15];
  }
  return out;
}

std::string Hmac(std::string_view key, std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest.data(), &length);
  return {reinterpret_cast<const char*>(digest.data()), length};
}

// "20150830T123600Z".
std::string AmzDate(std::chrono::system_clock::time_point now) {
  const std::time_t unix_time = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&unix_time, &parts);
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts);
  return {text.data(), length};
}

// Without blanks at the ends, runs of blanks folded into one.
std::string Fold(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out += c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

bool IsUnreserved(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '~';
}

}  // namespace

std::string UriEncode(std::string_view text, bool keep_slash) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (IsUnreserved(byte) || (keep_slash && c == '/')) {
      out += c;
    } else {
      out += '%';
      out += kHexUpper[byte >> 4];
      out += kHexUpper[byte & 15];
    }
  }
  return out;
}

std::string CanonicalQuery(const Query& query) {
  std::vector<std::pair<std::string, std::string>> encoded;
  encoded.reserve(query.size());
  for (const auto& [name, value] : query) {
    encoded.emplace_back(UriEncode(name, false), UriEncode(value, false));
  }
  std::sort(encoded.begin(), encoded.end());
  std::string out;
  for (const auto& [name, value] : encoded) {
    if (!out.empty()) out += '&';
    out += name + "=" + value;
  }
  return out;
}

std::string Sha256Hex(std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(data.data(), data.size(), digest.data(), &length, EVP_sha256(), nullptr);
  return Hex({reinterpret_cast<const char*>(digest.data()), length});
}

SigV4::SigV4(std::string region, std::string service)
    : region_(std::move(region)), service_(std::move(service)) {}

const std::string& SigV4::SigningKey(const Credentials& credentials, const std::string& date) {
  const std::string& secret = credentials.secret_access_key.Reveal();
  if (key_date_ != date || key_id_ != credentials.access_key_id || key_secret_.Reveal() != secret) {
    key_ = Hmac(Hmac(Hmac(Hmac("AWS4" + secret, date), region_), service_), "aws4_request");
    key_date_ = date;
    key_id_ = credentials.access_key_id;
    key_secret_ = credentials.secret_access_key;
  }
  return key_;
}

Headers SigV4::Sign(const SignableRequest& request, const Credentials& credentials,
                    std::chrono::system_clock::time_point now) {
  if (credentials.access_key_id.empty()) return {};
  const std::string timestamp = AmzDate(now);
  const std::string date = timestamp.substr(0, 8);

  Headers added;
  added.emplace_back("X-Amz-Date", timestamp);
  if (service_ == "s3") added.emplace_back("X-Amz-Content-Sha256", request.payload_hash);
  if (!credentials.session_token.Empty()) {
    added.emplace_back("X-Amz-Security-Token", credentials.session_token.Reveal());
  }

  Headers signed_headers = {{"host", std::string(request.host)}};
  for (const auto& [name, value] : added)
    signed_headers.emplace_back(LowerCased(name), Fold(value));
  if (request.headers != nullptr) {
    for (const auto& [name, value] : *request.headers) {
      signed_headers.emplace_back(LowerCased(name), Fold(value));
    }
  }
  std::stable_sort(signed_headers.begin(), signed_headers.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string lines;
  std::string names;
  for (const auto& [name, value] : signed_headers) {
    lines += name + ":" + value + "\n";
    names += (names.empty() ? "" : ";") + name;
  }

  const std::string canonical =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, request.path,
                  request.query == nullptr ? "" : CanonicalQuery(*request.query), lines, names,
                  request.payload_hash);
  const std::string scope = fmt::format("{}/{}/{}/aws4_request", date, region_, service_);
  const std::string to_sign =
      fmt::format("{}\n{}\n{}\n{}", kAlgorithm, timestamp, scope, Sha256Hex(canonical));
  const std::string signature = Hex(Hmac(SigningKey(credentials, date), to_sign));
  added.emplace_back("Authorization",
                     fmt::format("{} Credential={}/{},SignedHeaders={},Signature={}", kAlgorithm,
                                 credentials.access_key_id, scope, names, signature));
  return added;
}

}  // namespace sluice::origin
