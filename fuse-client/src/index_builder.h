// From listings to an index. Made for a million objects in a small pod: beside the listing it takes
// eight bytes for an object, and the index is written once, straight to where it will live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/ports/origin.h"

#include "index.h"

namespace sluice::fuse_client {

// The path of a mount as the index has it: "/a/b/" -> "a/b".
std::string TrimSlashes(std::string_view path);

// The ids that the index gives to a file and to a directory of these whole paths (but for
// collisions of the hash).
std::uint64_t FileId(const std::string& identity, const std::string& path,
                     const std::string& version);
std::uint64_t DirectoryId(std::string_view path);

// Whether it can be the name of a file or directory.
bool IsFileName(std::string_view name);

// What one mount contributes.
struct MountListing {
  std::string path;      // "/" or "/a/b": where its objects appear
  std::string identity;  // of its origin, part of the file ids
  Listing listing;
};

// The snapshot of some listings, sorted and measured but not written. Where names collide: a mount
// hides what another mount has below its path, a directory hides an object of the same name. Hidden
// and impossible names are counted as skipped.
class IndexDraft {
 public:
  explicit IndexDraft(std::vector<MountListing> mounts);

  // Of the index.
  [[nodiscard]] std::uint64_t bytes() const;
  // What the listings take until the draft goes.
  [[nodiscard]] std::uint64_t memory() const { return memory_; }
  [[nodiscard]] std::uint64_t objects() const { return entries_.size(); }
  // Writes the index into exactly bytes() bytes, aligned to 8. Equal listings give equal bytes.
  void WriteTo(std::span<std::byte> out) const;

 private:
  friend class IndexWriter;
  struct Entry {
    std::uint32_t object = 0;  // of the mount's listing; kDirectory: the mount's own directory
    std::uint16_t mount = 0;
  };
  static constexpr std::uint32_t kDirectory = UINT32_MAX;

  void Collect();
  void DropHidden();
  void Measure();
  [[nodiscard]] std::string_view Path(const Entry& entry) const;
  [[nodiscard]] const OriginObject& Object(const Entry& entry) const {
    return mounts_[entry.mount].listing.objects[entry.object];
  }

  std::vector<MountListing> mounts_;  // objects under their whole paths
  std::vector<std::string> roots_;    // of the mounts: "", "a/b"
  std::vector<Entry> entries_;        // sorted
  std::uint64_t skipped_ = 0;
  std::uint64_t memory_ = 0;
  std::uint64_t nodes_ = 0;
  std::uint64_t string_bytes_ = 0;
};

}  // namespace sluice::fuse_client
