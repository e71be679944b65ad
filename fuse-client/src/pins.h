// The objects of a dataset that stay in the node cache, by the paths that a user wrote.
#pragma once

#include <string>
#include <vector>

#include "sluice/cache/pin_set.h"

#include "file_system.h"
#include "index.h"

namespace sluice::fuse_client {

// `paths` as CacheConfig::pinned has them, valid. Visits every directory that may hold a match.
cache::PinSet PinnedObjects(const Index& index, const std::vector<MountSource>& mounts,
                            const std::vector<std::string>& paths);

}  // namespace sluice::fuse_client
