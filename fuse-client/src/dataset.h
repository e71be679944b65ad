// The origins of a configuration's mounts, and the pool of cache workers before them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/core/fuse_config.h"
#include "sluice/origin/make_origin.h"
#include "sluice/pool/member_follower.h"
#include "sluice/pool/memcached_pool.h"

#include "file_system.h"
#include "index_builder.h"
#include "writing.h"

namespace sluice::fuse_client {

class Dataset {
 public:
  // kInvalidArgument and kPermissionDenied name the mount; asks no server.
  static Result<std::unique_ptr<Dataset>> Make(const FuseConfig& config, platform::Metrics& metrics,
                                               const platform::Log& log);

  // Lists every origin; blocks within the adapters' deadlines. kInvalidArgument when the listings
  // take more than `limit` bytes of memory together. One thread at a time.
  Result<IndexDraft> List(std::uint64_t limit) const;

  // Once, before Sources: reads go through the pool that the configuration names, if any. Waits for
  // no server. A directory is not shared: it may be another one on every machine.
  void UsePool(const FuseConfig& config, platform::Metrics& metrics, const platform::Log& log);

  [[nodiscard]] std::vector<MountSource> Sources() const;
  // In the same order; a mount that is not to be written to has no writer.
  [[nodiscard]] std::vector<WritableMount> Writable() const;
  // Whether there is any that has one.
  [[nodiscard]] bool IsWritable() const;
  // Equal for configurations whose node ids and paths mean the same.
  [[nodiscard]] std::uint64_t Fingerprint() const;
  [[nodiscard]] std::string Describe() const;

 private:
  struct Mount {
    std::string path;
    std::shared_ptr<Origin> origin;
    std::shared_ptr<cache::ChunkSource> source;
    ObjectWriter* writer = nullptr;
  };
  std::shared_ptr<pool::MemcachedPool> pool_;  // null: there is none
  std::unique_ptr<pool::MemberFollower> pool_members_;
  std::vector<Mount> mounts_;
  // Of the limit, what the origins listed before this one have left; the origins ask for it.
  std::shared_ptr<std::uint64_t> listing_room_ = std::make_shared<std::uint64_t>(0);
};

}  // namespace sluice::fuse_client
