// The credentials of a mount, from the files of its Secrets.
#pragma once

#include "sluice/core/result.h"
#include "sluice/core/s3_options.h"
#include "sluice/origin/sigv4.h"

namespace sluice::origin {

// Reads the files. An unreadable, empty or binary one is kPermissionDenied that names option and
// file. Blanks and line ends around the value are dropped, since editors add them.
Result<Credentials> ReadCredentials(const S3Options& options);

bool Same(const Credentials& a, const Credentials& b);

}  // namespace sluice::origin
