// Credentials of the machine's own role, from its metadata service (IMDSv2).
#pragma once

#include <memory>

#include "sluice/core/result.h"
#include "sluice/core/s3_options.h"

#include "credentials_source.h"
#include "identity_environment.h"

namespace sluice::origin {

// Asks the service of option "metadataEndpoint", else of AWS_EC2_METADATA_SERVICE_ENDPOINT, else
// http://169.254.169.254: for a token, the role's name, its credentials. kInvalidArgument when the
// variable is malformed.
Result<std::unique_ptr<CredentialsSource>> MakeInstanceMetadata(
    const S3Options& options, const IdentityEnvironment& environment);

}  // namespace sluice::origin
