// The credentials of a mount's options, from the files of its Secrets; or none, for anonymous
// access.
#pragma once

#include <memory>

#include "sluice/core/result.h"
#include "sluice/core/s3_options.h"

#include "credentials_provider.h"

namespace sluice::origin {

// Reads the files, as ReadSecret does; again when they are refused. Options without keys:
// anonymous.
Result<std::unique_ptr<CredentialsProvider>> MakeStaticCredentials(const S3Options& options);

}  // namespace sluice::origin
