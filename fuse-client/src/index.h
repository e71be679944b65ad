// The immutable name space of a dataset: every directory and object, sorted, in one block of bytes.
//
// The block is position independent, so it can live in the state memfd and be served by the next
// process as it is. A node's id depends only on what the node is (a directory's path; a file's
// origin, path and version), so it means the same object in every snapshot and every process, and a
// changed object is a new node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"

namespace sluice::fuse_client {

inline constexpr std::uint64_t kRootId = 1;
inline constexpr std::uint16_t kNoMount = 0xffff;  // a directory above all mounts

struct IndexNode {
  std::uint64_t id = 0;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;  // since 1970; of a directory: its newest object's
  std::uint64_t name_offset = 0;
  std::uint64_t version_offset = 0;
  std::uint32_t parent = 0;
  std::uint32_t first_child = 0;  // children are neighbours, sorted by name
  std::uint32_t child_count = 0;
  std::uint16_t name_length = 0;
  std::uint16_t version_length = 0;
  std::uint16_t mount = kNoMount;
  std::uint8_t is_directory = 0;
  std::uint8_t is_link = 0;  // symbolic: its version is its text, its size the length of it
  std::uint8_t reserved[4] = {};
};
static_assert(sizeof(IndexNode) == 64);

struct IndexTotals {
  std::uint64_t files = 0;  // without links
  std::uint64_t bytes = 0;
  std::uint64_t skipped = 0;  // objects that have no place in the tree
};

// Threads: any; nothing changes after construction.
class Index {
 public:
  // Takes over `bytes` (kept alive by `owner`) after checking that no offset leads outside.
  static Result<std::shared_ptr<const Index>> FromBytes(std::span<const std::byte> bytes,
                                                        std::shared_ptr<const void> owner);

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(nodes_.size()); }
  [[nodiscard]] const IndexNode& Node(std::uint32_t node) const { return nodes_[node]; }
  [[nodiscard]] std::string_view Name(std::uint32_t node) const;
  [[nodiscard]] std::string_view Version(std::uint32_t node) const;
  [[nodiscard]] std::string Path(std::uint32_t node) const;  // "a/b/c"; "" for the root
  [[nodiscard]] std::optional<std::uint32_t> Find(std::uint64_t id) const;
  [[nodiscard]] std::optional<std::uint32_t> Child(std::uint32_t directory,
                                                   std::string_view name) const;
  [[nodiscard]] IndexTotals Totals() const;
  [[nodiscard]] std::span<const std::byte> Bytes() const { return bytes_; }

 private:
  struct IdEntry {
    std::uint64_t id = 0;
    std::uint32_t node = 0;
    std::uint32_t reserved = 0;
  };
  struct Header;
  friend class IndexDraft;
  friend class IndexWriter;

  Index() = default;
  [[nodiscard]] Status Check() const;

  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
  std::span<const IndexNode> nodes_;
  std::span<const IdEntry> ids_;
  std::string_view strings_;
};

// The entries whose meaning changed from one snapshot to the next: what the kernel must forget.
struct IndexChange {
  std::uint64_t directory = 0;  // id of the parent
  std::string name;
};
// Calls `visit` with each, those of one directory in a row.
void CompareIndexes(const Index& before, const Index& after,
                    const std::function<void(IndexChange)>& visit);

}  // namespace sluice::fuse_client
