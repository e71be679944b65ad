// Objects of an S3 bucket, or of a store that speaks its protocol, as files.
#pragma once

#include <memory>

#include "sluice/core/s3_options.h"
#include "sluice/origin/make_origin.h"

namespace sluice::origin {

// What a listing holds: every object below the prefix whose name can be a file name. Keys that end
// in '/' are directory markers: left out, and not counted unless their name is no path either.
// Where one object's key is another's directory ("a" and "a/b"), the directory wins and the object
// is counted as skipped.
//
// The version of an object is its ETag, else its size and time. Reads carry it (If-Match), and the
// answer is checked against it before a byte is delivered.
//
// Retried, with backoff and full jitter, until OriginLimits says stop: connection failures, stalled
// or short bodies (continued where they stopped), 408, 429, 5xx. Not retried: everything that says
// that the request itself is refused. A refusal of the credentials makes the secret files be read
// again, or temporary credentials be renewed; if there are others the request is repeated at once.
// Requests wait, until their deadline, for temporary credentials that are being fetched.
Result<std::unique_ptr<Origin>> MakeS3Origin(const S3Options& options, const OriginLimits& limits,
                                             platform::Metrics& metrics, platform::Log log);

}  // namespace sluice::origin
