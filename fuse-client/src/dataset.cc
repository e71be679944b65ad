#include "dataset.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "sluice/cache/pooled_source.h"
#include "sluice/pool/encrypted_pool.h"

#include "pool_memory.h"
#include "siphash.h"

namespace sluice::fuse_client {
namespace {

// The adapter gives up early: the reader tries again until its own deadline, and a start that fails
// tells the cause while somebody waits for it.
origin::OriginLimits Limits(std::shared_ptr<const std::uint64_t> listing_room) {
  origin::OriginLimits limits;
  limits.max_listing_bytes = [room = std::move(listing_room)] { return *room; };
  limits.max_attempts = 4;
  limits.deadline = std::chrono::seconds(30);
  return limits;
}

// Each chunk is received by one thread; more of them than this would wait for the reader's.
unsigned PoolLoops() { return std::clamp(std::thread::hardware_concurrency(), 2U, 8U); }

// Chunks are kept apart by dataset; what is mounted on one machine has none.
constexpr const char* kNoDataset = "none";

}  // namespace

Result<std::unique_ptr<Dataset>> Dataset::Make(const FuseConfig& config, platform::Metrics& metrics,
                                               const platform::Log& log) {
  auto dataset = std::make_unique<Dataset>();
  for (const MountConfig& mount : config.mounts) {
    SLUICE_TRY(origin, origin::MakeOrigin(mount, Limits(dataset->listing_room_), metrics, log),
               fmt::format("mount {}", mount.mount_point));
    std::shared_ptr<Origin> shared = std::move(origin);
    ObjectWriter* const writer = mount.read_only ? nullptr : shared->Writer();
    if (!mount.read_only && writer == nullptr) {
      log.Warn(
          "a mount that may be written to is only read: only object stores and directories "
          "take new files",
          {{"mount", mount.mount_point}});
    }
    dataset->mounts_.push_back({TrimSlashes(mount.path), shared, cache::SourceOf(shared), writer});
  }
  if (dataset->mounts_.empty()) return Fail(Code::kInvalidArgument, "mounts: there is none");
  if (dataset->mounts_.size() >= kNoMount) return Fail(Code::kInvalidArgument, "mounts: too many");
  return dataset;
}

void Dataset::UsePool(const FuseConfig& config, platform::Metrics& metrics,
                      const platform::Log& log) {
  if (PoolMemory(config) == 0) {
    if (config.pool.members_file.empty()) return;
    log.Warn("the pool is not used: the memory budget is too small for this many mounts",
             {{"budgetBytes", config.cache.memory_budget_bytes}, {"mounts", mounts_.size()}});
    return;
  }
  pool_ = std::make_shared<pool::MemcachedPool>(
      pool::PoolOptions{.loops = PoolLoops(),
                        .credentials_file = config.pool.credentials_file,
                        .tls_directory = config.pool.tls_directory,
                        .tls_domain = config.pool.tls_domain},
      metrics, log);
  pool_members_ = std::make_unique<pool::MemberFollower>(
      config.pool.members_file,
      [pool = pool_](const std::vector<PoolMember>& members) { pool->SetMembers(members); },
      metrics, log);
  std::shared_ptr<ChunkPool> chunks = pool_;
  if (!config.pool.key_file.empty()) {
    chunks = pool::EncryptedPoolOf(std::move(chunks), config.pool.key_file, metrics, log);
  }
  for (Mount& mount : mounts_) {
    if (mount.origin->IsOfOneMachine()) continue;
    mount.source = cache::PooledSourceOf(
        std::move(mount.source), chunks,
        {.dataset_uid = config.dataset_uid.empty() ? kNoDataset : config.dataset_uid,
         .memory_bytes = PoolMemory(config) / mounts_.size()},
        metrics, log);
  }
}

Result<IndexDraft> Dataset::List(std::uint64_t limit) const {
  *listing_room_ = limit;
  std::vector<MountListing> listings;
  for (const Mount& mount : mounts_) {
    SLUICE_TRY(listing, mount.origin->List(), fmt::format("list {}", mount.origin->Describe()));
    for (const OriginObject& object : listing.objects) {
      *listing_room_ -= std::min(*listing_room_, MemoryOf(object));
    }
    listings.push_back({mount.path, mount.source->Identity(), std::move(listing)});
  }
  return IndexDraft(std::move(listings));
}

std::vector<MountSource> Dataset::Sources() const {
  std::vector<MountSource> sources;
  for (const Mount& mount : mounts_) sources.push_back({mount.path, mount.source});
  return sources;
}

std::vector<WritableMount> Dataset::Writable() const {
  std::vector<WritableMount> mounts;
  for (const Mount& mount : mounts_) {
    mounts.push_back(
        {mount.path, mount.source->Identity(), mount.origin->Describe(), mount.writer});
  }
  return mounts;
}

bool Dataset::IsWritable() const {
  return std::ranges::any_of(mounts_, [](const Mount& mount) { return mount.writer != nullptr; });
}

std::uint64_t Dataset::Fingerprint() const {
  std::string text;
  for (const Mount& mount : mounts_) {
    text += mount.path + '\0' + mount.source->Identity() + '\0';
  }
  return SipHash(text);
}

std::string Dataset::Describe() const {
  std::string text;
  for (const Mount& mount : mounts_) {
    text += (text.empty() ? "" : ", ") + mount.origin->Describe();
  }
  return text;
}

}  // namespace sluice::fuse_client
