#include "temporary_credentials.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "s3_xml.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kLongestKey = 512;  // AWS: 128 for the id, 40 for the secret
constexpr std::size_t kLongestToken = 16U << 10;

bool IsBlank(char c) { return c == ' '; }

}  // namespace

bool IsHeaderText(std::string_view text, std::size_t longest) {
  return text.size() <= longest &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
}

Result<TemporaryCredentials> CheckCredentials(CredentialTexts texts) {
  struct Row {
    std::string_view name;
    const std::string& text;
    std::size_t longest;
  };
  for (const auto& [name, text, longest] :
       {Row{"AccessKeyId", texts.access_key_id, kLongestKey},
        Row{"SecretAccessKey", texts.secret_access_key, kLongestKey},
        Row{"session token", texts.session_token, kLongestToken}}) {
    if (text.empty() || !IsHeaderText(text, longest) ||
        std::any_of(text.begin(), text.end(), IsBlank)) {
      return Fail(Code::kUnavailable,
                  fmt::format("the answer's {} is missing, overlong or malformed", name));
    }
  }
  // They part the fields of the Authorization header.
  if (texts.access_key_id.find_first_of("/,") != std::string::npos) {
    return Fail(Code::kUnavailable, "the answer's AccessKeyId is missing, overlong or malformed");
  }
  const auto expires = ParseIsoTime(texts.expiration);
  if (!expires) return Fail(Code::kUnavailable, "the answer's Expiration is missing or malformed");
  TemporaryCredentials out;
  out.credentials.access_key_id = std::move(texts.access_key_id);
  out.credentials.secret_access_key = platform::Secret(std::move(texts.secret_access_key));
  out.credentials.session_token = platform::Secret(std::move(texts.session_token));
  out.expires = *expires;
  return out;
}

}  // namespace sluice::origin
