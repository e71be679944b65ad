// Indexes in ordinary memory.
#pragma once

#include <memory>
#include <vector>

#include "index_builder.h"

namespace sluice::fuse_client {

inline std::vector<std::byte> IndexBytes(std::vector<MountListing> mounts) {
  const IndexDraft draft(std::move(mounts));
  std::vector<std::byte> bytes(draft.bytes());
  draft.WriteTo(bytes);
  return bytes;
}

// Null when its own check refuses it.
inline std::shared_ptr<const Index> MakeIndex(std::vector<MountListing> mounts) {
  const auto bytes = std::make_shared<std::vector<std::byte>>(IndexBytes(std::move(mounts)));
  auto index = Index::FromBytes(*bytes, bytes);
  return index ? *index : nullptr;
}

}  // namespace sluice::fuse_client
