// Credentials for a role in exchange for a service account's token (IRSA on EKS, and every STS that
// knows AssumeRoleWithWebIdentity).
#pragma once

#include <memory>
#include <string>

#include "sluice/core/result.h"
#include "sluice/core/s3_options.h"

#include "credentials_source.h"
#include "identity_environment.h"

namespace sluice::origin {

// Asks the STS of option "stsEndpoint", else of AWS_ENDPOINT_URL_STS, else the region's. The token
// file is read for each question, since the kubelet replaces it; the token goes into the body of
// the request only. kInvalidArgument, which names the variable and the fix, when role or token file
// are not in the environment or something there is malformed.
Result<std::unique_ptr<CredentialsSource>> MakeWebIdentity(const S3Options& options,
                                                           const IdentityEnvironment& environment);

}  // namespace sluice::origin
