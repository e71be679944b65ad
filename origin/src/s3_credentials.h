// The credentials of a mount, from the files of its Secrets.
#pragma once

#include "sluice/core/result.h"
#include "sluice/core/s3_options.h"
#include "sluice/origin/sigv4.h"

namespace sluice::origin {

// Reads the files, as ReadSecret does.
Result<Credentials> ReadCredentials(const S3Options& options);

bool Same(const Credentials& a, const Credentials& b);

}  // namespace sluice::origin
