// The client's configuration from its files.
#pragma once

#include "sluice/core/fuse_config.h"
#include "sluice/fuse_client/options.h"

namespace sluice::fuse_client {

// kNotFound and kPermissionDenied name the file, kInvalidArgument file and field.
Result<FuseConfig> LoadConfig(const Options& options);

}  // namespace sluice::fuse_client
