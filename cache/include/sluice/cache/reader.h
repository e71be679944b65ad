// Reading objects of an origin through this node's memory and disk. It is the whole read path above
// ports/origin.h: read-ahead, sharing of fetches, the node cache, one memory budget. A FUSE client,
// a preloader and a benchmark are callers; nothing here knows a kernel interface.
//
//   auto reader = Reader::Start(options, metrics, log);
//   auto file = reader->Open(SourceOf(origin), object);        // once per inode or handle
//   if (auto fd = file->OpenComplete()) …                      // passthrough: all is on disk
//   file->ReadAsync(offset, size, [](Result<Bytes> bytes) { … bytes->Segments() … });
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sluice/cache/chunk_source.h"
#include "sluice/cache/pin_set.h"
#include "sluice/core/result.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/platform/unique_fd.h"
#include "sluice/ports/origin.h"

namespace sluice::cache {

class Engine;

// One ReadAsync gives at most this much; a longer request is answered with its first part.
inline constexpr std::size_t kMaxReadBytes = 4U << 20;

struct ReaderOptions {
  std::string cache_directory;    // empty: no node cache, memory only. Created when missing (0700).
  std::uint64_t quota_bytes = 0;  // of the directory; 0: what its file system has, less a reserve
  PinSet pinned{};                // SetPinned, before anything is evicted
  // So much of what was written to the directory may not be on the disk yet; 0: no bound.
  std::uint64_t unsynced_bytes = 0;
  // Of the whole process. Data buffers take three quarters of it, never less than 16 MiB; the rest
  // is for the transport and for requests. Nothing is allocated before the first read.
  std::uint64_t memory_budget_bytes = 256ULL << 20;
  // The largest range of read-ahead; a multiple of 256 KiB. More ranges of it are under way at
  // once.
  std::uint64_t fetch_bytes = 4ULL << 20;
  // A read that the origin cannot answer now (kUnavailable, kDeadlineExceeded) is tried again, with
  // backoff, until this much time has passed since ReadAsync.
  std::chrono::milliseconds read_deadline = std::chrono::seconds(120);
};

// What `unsynced_bytes` should be for a process that is killed when it takes more than
// `memory_limit`: half of what its budget leaves of that, the rest being for the kernel's own.
std::uint64_t UnsyncedBytesUnder(std::uint64_t memory_limit, std::uint64_t memory_budget);

// The answer to one read: pieces of resident anonymous memory, never of a mapped file, so a reply
// written from it cannot fault. It pins its buffers: drop it as soon as the reply is written.
// Move-only; may be dropped on any thread, also after the Reader is gone.
class Bytes {
 public:
  Bytes() = default;
  Bytes(Bytes&& other) noexcept;
  Bytes& operator=(Bytes&& other) noexcept;
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes();

  // In file order; together size() bytes. Empty at and behind the end of the object.
  [[nodiscard]] const std::vector<std::span<const std::byte>>& Segments() const {
    return segments_;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  // Copies min(size(), into.size()) bytes and returns how many.
  std::size_t CopyTo(std::span<std::byte> into) const;

 private:
  friend class Engine;
  void Release();

  std::shared_ptr<Engine> engine_;
  std::vector<std::uint32_t> slots_;  // pinned buffers
  std::vector<std::span<const std::byte>> segments_;
  std::size_t size_ = 0;
};

// Called exactly once per read. On the calling thread when the bytes are at hand, else on a thread
// of the Reader. It may block for as long as a reply takes, and may call back into the Reader.
using ReadCallback = std::function<void(Result<Bytes>)>;

// What came of File::Prefetch.
enum class Prefetched {
  kAsked,
  kThere,   // or on its way already
  kNoRoom,  // now: nothing was asked for
};

// One version of one object, open. All Files of the same version share everything; dropping the
// last one cancels read-ahead that nobody waits for (reads under way are still answered).
// Threads: any.
class File {
 public:
  virtual ~File() = default;

  // Answers min(size, kMaxReadBytes, bytes to the end) bytes at `offset`; a success is never
  // shorter than that. May block on the local disk, never on the origin.
  // Errors: kConflict when the origin has another version now (then Stale() is true and every
  // further read fails; open the new version), kNotFound when it has none (what is cached of it can
  // still be read), kPermissionDenied, and kUnavailable or kDeadlineExceeded when it did not answer
  // within the read deadline. A failing local disk is never an error: the bytes come from the
  // origin.
  virtual void ReadAsync(std::uint64_t offset, std::size_t size, ReadCallback done) = 0;

  // The same for a thread that may wait; fills `into` but for the end of the object, in as many
  // reads as needed.
  Result<std::size_t> Read(std::uint64_t offset, std::span<std::byte> into);

  // A read-only descriptor of the cache file when it holds every byte, verified in the life of this
  // process; the file is 0444 and will never be written again, eviction only unlinks it.
  // kUnavailable while that is not so (a whole file left by an earlier process is verified in the
  // background when this is first asked). Does no more than an open(2), but when all that is
  // missing is on its way to the disk, waits `patience` for it.
  virtual Result<platform::UniqueFd> OpenComplete(std::chrono::milliseconds patience) = 0;
  Result<platform::UniqueFd> OpenComplete() { return OpenComplete(std::chrono::milliseconds(0)); }

  // Asks for what is neither in memory nor in the cache directory, for a read that will come; meant
  // for objects of a few blocks. Letting go of the last File cancels it.
  virtual Prefetched Prefetch() = 0;

  // Bytes of the object that the cache directory holds now.
  [[nodiscard]] virtual std::uint64_t CachedBytes() const = 0;

  // Whether the origin was seen to hold another version.
  [[nodiscard]] virtual bool Stale() const = 0;

  [[nodiscard]] virtual const OriginObject& Object() const = 0;
};

struct ReaderStats {
  std::uint64_t cached_bytes = 0;      // in the cache directory
  std::uint64_t cached_objects = 0;    // whole or in part
  std::uint64_t quota_bytes = 0;       // in force now; 0 without a node cache
  std::uint64_t memory_bytes = 0;      // buffers that hold data
  std::uint64_t memory_hit_bytes = 0;  // since the start
  std::uint64_t disk_hit_bytes = 0;
  std::uint64_t miss_bytes = 0;
  bool cache_usable = false;  // false: no directory, or it cannot be used now (reads pass it by)
};

// Owns the buffers, the cache directory (locked: one process at a time, a second one passes it by
// until the first is gone) and three threads. Threads: any.
class Reader {
 public:
  // Never fails: a directory that cannot be used is logged, counted and tried again later.
  // `metrics` and `log` must outlive the Reader and every fetch it has started.
  static std::unique_ptr<Reader> Start(const ReaderOptions& options, platform::Metrics& metrics,
                                       const platform::Log& log);
  // Fails the reads under way with kUnavailable, cancels fetches, writes what is queued for the
  // cache. Returns when no callback of this Reader will run any more; not from within one.
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Asks the origin nothing; may set the time of one small file. What the directory has of it is
  // looked up when it is first read. `object` is used as given: path, version
  // and size must come from the origin. The first source given for an identity is kept until the
  // Reader goes, and serves all objects of that identity.
  std::shared_ptr<File> Open(const std::shared_ptr<ChunkSource>& source,
                             const OriginObject& object);

  // From now on no object of the set is evicted from the cache directory, and others are as before.
  // When the pinned ones fill the quota, reads of further objects pass the directory by. Nothing is
  // fetched for it, and nothing of it outlives the Reader.
  void SetPinned(PinSet pinned);

  [[nodiscard]] ReaderStats Stats() const;

 private:
  explicit Reader(std::shared_ptr<Engine> engine);
  std::shared_ptr<Engine> engine_;
};

}  // namespace sluice::cache
