// S3 credentials of a user on one machine: from the environment, or from a file as other tools have
// it (~/.aws/credentials).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/log.h"

namespace sluice::cli {

struct Credentials {
  platform::Secret access_key_id;
  platform::Secret secret_access_key;
  platform::Secret session_token;  // may be empty

  [[nodiscard]] bool Given() const { return !access_key_id.Empty(); }
};

using Environment = std::function<std::optional<std::string>(const char* name)>;

// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; none set: anonymous access.
// kInvalidArgument when one half of the pair is missing.
Result<Credentials> CredentialsFromEnvironment(const Environment& environment);

// An AWS credentials file; errors name the line, never a value.
Result<Credentials> ParseCredentialsFile(const std::string& text, const std::string& profile);

}  // namespace sluice::cli
