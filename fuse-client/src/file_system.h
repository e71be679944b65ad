// The file system of a dataset as it is read, without the kernel: names and attributes from an
// immutable index and what this client has made since, bytes from the read path. The binding
// translates requests to these calls; those that change something are writing.h's.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sluice/cache/reader.h"
#include "sluice/core/result.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/metrics.h"

#include "attributes.h"
#include "directory_order.h"
#include "index.h"
#include "new_files.h"
#include "open_table.h"

namespace sluice::fuse_client {

// What a file tells of itself beside its bytes.
inline constexpr std::string_view kVersionAttribute =
    "user.sluice.version";  // as the origin has it
// How much of it the node cache holds: "0.0000" to "1.0000", the latter only when it is whole.
inline constexpr std::string_view kCachedAttribute = "user.sluice.cached";
bool IsExtendedAttribute(std::string_view name);

struct OpenedFile {
  std::int32_t backing_id = 0;  // 0: read through the page cache
};

// Registers complete cache files with the kernel. Threads: any.
class BackingFiles {
 public:
  virtual ~BackingFiles() = default;
  virtual Result<std::int32_t> Register(std::uint64_t node_id, int file) = 0;
  virtual void Unregister(std::int32_t backing_id) = 0;
};

// One mount of the dataset: where its objects appear, and where their bytes are.
struct MountSource {
  std::string path;  // "a/b", "" for the root
  std::shared_ptr<cache::ChunkSource> source;
};

struct FileSystemOptions {
  std::vector<MountSource> mounts;
  BackingFiles* backing_files = nullptr;   // null: no passthrough
  std::uint32_t files_ahead = 64;          // of a directory that is read in order
  std::function<void()> on_stale = [] {};  // an object is not what was listed: list again
};

// Threads: any. Errors: kNotFound (no such name), kConflict (the node or its bytes are gone or
// changed: ESTALE), kInvalidArgument (not a directory / is one), and those of cache::File.
class FileSystem {
 public:
  FileSystem(FileSystemOptions options, cache::Reader& reader, OpenTable& opens,
             platform::Metrics& metrics);

  // The snapshot served from now on, from a listing that began at this mark of New(). Returns the
  // one before, null the first time: where they differ the kernel must forget.
  std::shared_ptr<const Index> Publish(std::shared_ptr<const Index> index, std::uint64_t mark = 0);
  [[nodiscard]] std::shared_ptr<const Index> Current() const;
  NewFiles& New() { return new_files_; }

  Result<Attributes> Lookup(std::uint64_t directory, std::string_view name) const;
  Result<Attributes> GetAttributes(std::uint64_t id) const;
  // The text of a symbolic link; kInvalidArgument for what is none.
  Result<std::string> ReadLink(std::uint64_t id) const;

  // A directory stays as it was when it was opened. The handle of another process is answered from
  // the present snapshot.
  Result<std::uint64_t> OpenDirectory(std::uint64_t id);
  void ReleaseDirectory(std::uint64_t handle);
  struct DirectoryEntry {
    std::string_view name;
    Attributes attributes;
    std::uint64_t next = 0;  // the offset to go on from
  };
  // Calls `visit` from `offset` on (0: the start) until it returns false.
  Status ReadDirectory(std::uint64_t id, std::uint64_t handle, std::uint64_t offset,
                       const std::function<bool(const DirectoryEntry&)>& visit) const;

  // An inode keeps the mode of its first live open. What `effect` says is done is not done again.
  Result<OpenedFile> Open(std::uint64_t id, RequestEffect effect = {});
  void Release(std::uint64_t id, RequestEffect effect = {});
  // Of an open that is answered with an error after all: undoes what `effect` says is done.
  void TakeBackOpen(std::uint64_t id, RequestEffect effect);
  void Read(std::uint64_t id, std::uint64_t offset, std::size_t size, cache::ReadCallback done);

  // To be called once an open is answered: asks for the files that will be opened next, when those
  // of a directory are opened in order. Best effort.
  void PrefetchAfter(std::uint64_t id) noexcept;

  // Files that were prepared so and not opened yet.
  [[nodiscard]] std::size_t HeldAhead() const;

  // Whether it is open here.
  [[nodiscard]] bool IsOpen(std::uint64_t id) const;
  // Whether this client has put something in its place that the kernel may not know of: told that
  // it is stale, the kernel looks the name up again.
  [[nodiscard]] bool IsReplaced(std::uint64_t id) const;

  // Names of a file's extended attributes; a directory has none.
  Result<std::vector<std::string_view>> ExtendedAttributes(std::uint64_t id) const;
  // Nothing when it has no such attribute.
  Result<std::optional<std::string>> ExtendedAttribute(std::uint64_t id, std::string_view name);

  [[nodiscard]] IndexTotals Totals() const;

 private:
  struct Snapshot {
    std::shared_ptr<const Index> index;
    std::uint64_t generation = 0;
  };
  struct OpenInode {
    std::mutex mutex;  // of everything but `users`
    OpenEntry entry;
    std::uint32_t row = 0;
    bool resolved = false;
    Attributes attributes;
    std::shared_ptr<cache::File> file;  // null until used in this process
    std::uint32_t users = 0;            // opens and calls under way; under the map's lock
  };
  using OpenInodes = std::unordered_map<std::uint64_t, std::shared_ptr<OpenInode>>;
  // Files that will be opened next; held so that their fetch goes on, or what the node cache knows
  // of them stays loaded.
  struct Ahead {
    struct Held {
      std::uint64_t id = 0;
      std::shared_ptr<cache::File> file;
    };
    DirectoryOrder order;
    std::deque<Held> files;  // not opened yet
  };
  struct OpenDirectories {
    std::shared_ptr<const Index> index;
    std::uint64_t handles = 0;
  };

  static Error Gone(std::uint64_t id);
  [[nodiscard]] Attributes AttributesOf(const Index& index, std::uint32_t node) const;
  void PrefetchBehind(const Index& index, std::uint32_t node);
  static void TakeHeld(Ahead& ahead, std::uint64_t id, std::vector<Ahead::Held>& out);
  Status Resolve(OpenInode& inode, std::uint64_t id);
  // The object of an inode, whether it is open or not.
  Result<std::shared_ptr<cache::File>> FileOf(std::uint64_t id);
  [[nodiscard]] std::shared_ptr<cache::File> OpenFile(const Index& index, std::uint32_t node) const;
  Status ResolveNew(OpenInode& inode, std::uint64_t id);
  Status ReadNewEntries(const std::vector<NewFiles::Numbered>& added, std::uint64_t offset,
                        const std::function<bool(const DirectoryEntry&)>& visit) const;
  Status FirstOpen(OpenInode& inode, std::uint64_t id);
  void Close(std::uint64_t id, RequestEffect effect);
  [[nodiscard]] std::shared_ptr<OpenInode> FindOpen(std::uint64_t id) const;
  [[nodiscard]] OpenedFile AsOpened(std::uint64_t id) const;
  std::shared_ptr<OpenInode> Pin(std::uint64_t id, bool create);
  void Unpin(std::uint64_t id, std::uint32_t users);

  FileSystemOptions options_;
  cache::Reader& reader_;
  OpenTable& opens_;
  std::atomic<bool> waiting_open_ = false;
  // Since a read was asked for. Many in a row: the kernel has the bytes that are opened now.
  std::atomic<std::uint32_t> opens_without_read_ = 0;
  platform::Counter& passthrough_opens_;
  platform::Counter& passthrough_refused_;
  platform::Counter& prefetched_files_;
  platform::Gauge& objects_;
  NewFiles new_files_;
  platform::Guarded<Ahead> ahead_;
  platform::Guarded<Snapshot> snapshot_;
  platform::Guarded<OpenInodes> open_inodes_;
  platform::Guarded<std::map<std::uint64_t, OpenDirectories>> open_directories_;  // by generation
};

}  // namespace sluice::fuse_client
