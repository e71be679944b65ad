// The S3 origin with credentials from whoever is given: what MakeS3Origin makes of its options.
#pragma once

#include <memory>

#include "sluice/origin/s3_origin.h"

#include "credentials_provider.h"

namespace sluice::origin {

std::unique_ptr<Origin> OpenS3Origin(const S3Options& options,
                                     std::unique_ptr<CredentialsProvider> credentials,
                                     const OriginLimits& limits, platform::Metrics& metrics,
                                     platform::Log log);

}  // namespace sluice::origin
