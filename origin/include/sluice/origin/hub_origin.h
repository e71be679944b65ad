// Files of a repository of the Hugging Face Hub, or of a server that speaks its API.
#pragma once

#include <memory>

#include "sluice/core/web_options.h"
#include "sluice/origin/make_origin.h"

namespace sluice::origin {

// A listing resolves the revision to a commit, and reads are of that commit until the next listing.
// The version of an object is its oid (of the LFS object where it is one): it is the same in every
// commit that has the same bytes, and answers are checked against it.
//
// Files of Git LFS are read where the Hub redirects to; the token goes to the Hub only. Retries and
// deadlines are those of the S3 origin.
Result<std::unique_ptr<Origin>> MakeHubOrigin(const HubOptions& options, const OriginLimits& limits,
                                              platform::Metrics& metrics, platform::Log log);

}  // namespace sluice::origin
