// The origins of a configuration's mounts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/core/fuse_config.h"
#include "sluice/origin/make_origin.h"

#include "file_system.h"
#include "index_builder.h"

namespace sluice::fuse_client {

class Dataset {
 public:
  // kInvalidArgument and kPermissionDenied name the mount; asks no server.
  // `listing_limit`: of the memory that one listing may take.
  static Result<std::unique_ptr<Dataset>> Make(const FuseConfig& config,
                                               std::uint64_t listing_limit,
                                               platform::Metrics& metrics,
                                               const platform::Log& log);

  // Lists every origin; blocks within the adapters' deadlines.
  Result<IndexDraft> List() const;

  [[nodiscard]] std::vector<MountSource> Sources() const;
  // Equal for configurations whose node ids and paths mean the same.
  [[nodiscard]] std::uint64_t Fingerprint() const;
  [[nodiscard]] std::string Describe() const;

 private:
  struct Mount {
    std::string path;
    std::shared_ptr<Origin> origin;
    std::shared_ptr<cache::ChunkSource> source;
  };
  std::vector<Mount> mounts_;
};

}  // namespace sluice::fuse_client
