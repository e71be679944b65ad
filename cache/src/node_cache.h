// The node's disk (or tmpfs) tier: one sparse file per object version and an index file beside it.
//
//   DIR/lock            flock: one process at a time
//   DIR/objects/NAME.part    being filled; NAME.data once whole (0444, never written again)
//   DIR/objects/NAME.index   which blocks it holds, with their checksums (docs/cache-format.md)
//
// Nothing here is ever an error to a reader: a directory that cannot be used or a full disk means
// that blocks are not kept, and a block that does not match its checksum was never there.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/cache/pin_set.h"
#include "sluice/core/result.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/platform/unique_fd.h"

#include "cache_items.h"
#include "object_index.h"
#include "write_behind.h"

namespace sluice::cache {

class NodeCache;

// One object version in the cache, open. All methods but Write and VerifySome may be called from
// any thread; those two only from one thread at a time. Has() never blocks on the disk.
class CacheEntry {
 public:
  enum class WriteOutcome { kStored, kRefused, kFailed };  // refused: no room, or not usable now

  ~CacheEntry();
  CacheEntry(const CacheEntry&) = delete;
  CacheEntry& operator=(const CacheEntry&) = delete;

  [[nodiscard]] bool Has(std::uint32_t block) const;
  // Fills `into` (exactly the block's length) and checks it. Whatever is wrong, the block is
  // dropped and counted; then Has() is false.
  Status Read(std::uint32_t block, std::span<std::byte> into);
  // Stores the block; the last missing one makes the file whole. Idempotent.
  WriteOutcome Write(std::uint32_t block, std::span<const std::byte> bytes);

  [[nodiscard]] std::uint32_t Stored() const;  // blocks
  [[nodiscard]] bool Whole() const;
  // Whether the object could be kept whole if everything else were evicted.
  [[nodiscard]] bool Fits() const;
  // A new read-only descriptor of a whole and verified file, else kUnavailable.
  Result<platform::UniqueFd> OpenWhole() const;
  // Whether a whole file from an earlier process waits to be verified, asked for the first time.
  bool StartVerifying();
  // Reads and checks some more of it with `buffer` (one block); false when there is no more to do.
  bool VerifySome(std::span<std::byte> buffer);

  // Forgets all blocks and unlinks the files; nothing is stored any more.
  void Drop();

 private:
  friend class NodeCache;
  CacheEntry(std::shared_ptr<NodeCache> cache, CacheKey key, std::string name);

  struct State {
    std::vector<std::optional<std::uint32_t>> crcs;  // by block; nothing: not stored
    std::uint32_t stored = 0;
    std::shared_ptr<const platform::UniqueFd> data;
    bool loaded = false;  // some blocks were there before: of those only the records were looked at
    bool whole = false;
    bool verified = false;
    bool verifying = false;
    bool dropped = false;
  };

  void LoadFiles();
  bool LoadIndex(ObjectIndex index);
  Status OpenForWriting();
  Status StoreBlock(std::uint32_t block, std::span<const std::byte> bytes, std::uint32_t crc);
  Status MakeWhole();
  void SetVerified();
  void Reset(bool dropped);
  void Forget(std::uint32_t block, std::string_view reason);
  [[nodiscard]] std::filesystem::path Path(const char* suffix) const;

  const std::shared_ptr<NodeCache> cache_;
  const CacheKey key_;
  const std::string name_;
  const std::uint32_t blocks_;
  platform::Guarded<State> state_;

  // Of the writing thread.
  platform::UniqueFd index_;
  std::uint64_t index_end_ = 0;
  std::uint32_t verify_next_ = 0;
};

struct NodeCacheStats {
  std::uint64_t bytes = 0;
  std::uint64_t objects = 0;
  std::uint64_t limit = 0;
  bool usable = false;
};

// Owned by a shared_ptr: its entries keep it. Threads: any.
class NodeCache : public std::enable_shared_from_this<NodeCache> {
 public:
  struct Options {
    std::filesystem::path directory;
    std::uint64_t quota_bytes = 0;
    std::uint64_t unsynced_bytes = 0;
  };

  // Does no I/O; Maintain() attaches the directory.
  NodeCache(Options options, platform::Metrics& metrics, const platform::Log& log);
  ~NodeCache();

  // Attaches the directory when it is not, fits the limit to the free space, and evicts what is
  // over the quota. To be called about once a second; retries by itself back off.
  void Maintain(std::chrono::steady_clock::time_point now);

  // Null while the directory is not attached. The same entry for the same key while one is open.
  std::shared_ptr<CacheEntry> Open(const CacheKey& key);

  // The object is in use: it is evicted after those that were not for longer. May do I/O.
  void Touch(const std::string& name);

  // Evicts none of these from now on.
  void SetPinned(PinSet pinned);

  [[nodiscard]] NodeCacheStats Stats() const;

 private:
  friend class CacheEntry;

  struct State {
    CacheItems items;
    std::uint64_t limit = 0;
    bool attached = false;
    bool writable = true;
    std::chrono::steady_clock::time_point retry_at;
    std::chrono::milliseconds retry_after{0};
  };

  Status Attach();
  // Whether the directory is no longer the one that was attached.
  bool IsLost();
  void Detach();
  void Scan();
  void FitLimit();
  // After a restart with a smaller quota; some at a time.
  void EvictDownToQuota();
  // With the names locked; CacheItems::TakeVictims.
  void Evict(std::uint64_t target, std::size_t most = SIZE_MAX);
  // Room for so many more bytes of `name`, evicting others; false when there is none.
  bool Reserve(const std::string& name, std::uint64_t bytes);
  void Unreserve(const std::string& name, std::uint64_t bytes);
  void Unlink(const std::string& name);
  // Keeps the bound on what is not on the disk yet; may wait for the disk.
  void OnWritten(const std::string& name, WriteBehind::File file, std::uint64_t bytes);
  void OnEntryClosed(const std::string& name);
  // False for what was open when the directory was lost.
  [[nodiscard]] bool Knows(const std::string& name) const;
  // How much of the limit pinned objects leave to this one, whatever else is there.
  [[nodiscard]] std::uint64_t MostFor(const std::string& name) const;
  [[nodiscard]] bool IsVerified(const std::string& name) const;
  void SetVerified(const std::string& name, bool verified);
  [[nodiscard]] bool Writable() const;
  void OnWriteError(const Error& error);
  void OnWriteSuccess();

  const Options options_;
  const std::filesystem::path objects_;
  platform::Log log_;
  platform::Counter& corrupt_blocks_;
  platform::Counter& evicted_bytes_;
  platform::Counter& write_errors_;
  platform::Gauge& bytes_gauge_;
  platform::Gauge& limit_gauge_;
  platform::Gauge& usable_gauge_;
  platform::Gauge& pinned_gauge_;
  platform::Gauge& unsynced_gauge_;
  platform::Guarded<WriteBehind> write_behind_;

  // Held while files are created, renamed or unlinked by name, so that an eviction and an open of
  // the same object do not cross. Never needed to read or write the blocks of an open entry.
  std::mutex names_mutex_;
  platform::UniqueFd lock_;  // guarded by names_mutex_
  platform::Guarded<State> state_;
  std::atomic<bool> attach_failed_{false};
};

}  // namespace sluice::cache
