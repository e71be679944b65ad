// Chooses who gives an S3 origin its credentials.
#pragma once

#include <memory>

#include "sluice/core/result.h"
#include "sluice/core/s3_options.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"

#include "credentials_provider.h"
#include "identity_environment.h"
#include "renewed_credentials.h"

namespace sluice::origin {

struct CredentialsSetup {
  IdentityEnvironment environment;
  RenewalLimits limits;
  const Clock& clock;
};

// What option "credentials" says, or, when it says nothing: web identity when the environment has a
// role and a token file, else an agent when the environment names one, else none. Talks to no
// server. kInvalidArgument names what is missing or malformed, kPermissionDenied an unreadable
// Secret. `clock` and `metrics` must outlive the provider.
Result<std::unique_ptr<CredentialsProvider>> MakeCredentials(const S3Options& options,
                                                             const CredentialsSetup& setup,
                                                             platform::Metrics& metrics,
                                                             platform::Log log);

}  // namespace sluice::origin
