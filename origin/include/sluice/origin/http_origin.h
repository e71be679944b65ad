// Files of a web server.
#pragma once

#include <memory>

#include "sluice/core/web_options.h"
#include "sluice/origin/make_origin.h"

namespace sluice::origin {

// What a listing holds: the files of a manifest, or what index pages (HTML, or nginx's JSON) lead
// to below the mount point, or the one file that the mount point is. Links elsewhere are ignored;
// depth, pages and bytes of a walk are bounded. A file without size, ranges or version is left out,
// counted as skipped, logged and measured; a listing that could have nothing but such files is an
// error.
//
// The version of an object is its strong ETag, else its size and time. Reads carry it (If-Match or
// If-Unmodified-Since), and the answer is checked against it before a byte is delivered.
//
// Redirects are followed (at most 8 in a row, never from https to http); the token goes to the
// mount point's own server only. Retries and deadlines are those of the S3 origin.
Result<std::unique_ptr<Origin>> MakeHttpOrigin(const WebOptions& options,
                                               const OriginLimits& limits,
                                               platform::Metrics& metrics, platform::Log log);

}  // namespace sluice::origin
