// Credentials that end by themselves, as servers hand them out.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "sluice/core/result.h"
#include "sluice/origin/sigv4.h"

namespace sluice::origin {

struct TemporaryCredentials {
  Credentials credentials;
  std::chrono::system_clock::time_point expires;
};

// What an answer says, before anything of it is believed.
struct CredentialTexts {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;
  std::string expiration;  // "2026-11-26T18:00:00Z"
};

// kUnavailable, which names the member and never a value, when one is missing, overlong or has a
// character that must not stand in a header.
Result<TemporaryCredentials> CheckCredentials(CredentialTexts texts);

// Whether a text is of printable ASCII (blanks included) and not longer than so many bytes.
bool IsHeaderText(std::string_view text, std::size_t longest);

}  // namespace sluice::origin
