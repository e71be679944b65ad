// Who hands out temporary credentials: the port of renewed_credentials.h.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>

#include "sluice/core/result.h"

#include "temporary_credentials.h"

namespace sluice::origin {

class CredentialsSource {
 public:
  CredentialsSource() = default;
  virtual ~CredentialsSource() = default;
  CredentialsSource(const CredentialsSource&) = delete;
  CredentialsSource& operator=(const CredentialsSource&) = delete;

  // Asks once; blocks until the deadline at most, less when `stop` is requested. kUnavailable and
  // kDeadlineExceeded: another try may help. Messages say what is wrong and how to fix it, and hold
  // no secret. Threads: one at a time.
  virtual Result<TemporaryCredentials> Ask(std::chrono::steady_clock::time_point deadline,
                                           const std::stop_token& stop) = 0;
  // The value of option "credentials".
  [[nodiscard]] virtual std::string_view Name() const = 0;
  // Who is asked, for messages: "https://sts.eu-west-1.amazonaws.com (role arn:…)".
  [[nodiscard]] virtual std::string Place() const = 0;
};

}  // namespace sluice::origin
