// The object behind a file of the index, as its origin knows it.
#pragma once

#include <string>

#include "sluice/ports/origin.h"

#include "index.h"

namespace sluice::fuse_client {

// `mount_path` is where the node's mount appears: "a/b", "" for the root.
OriginObject ObjectAt(const Index& index, std::uint32_t node, const std::string& mount_path);

}  // namespace sluice::fuse_client
