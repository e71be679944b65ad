#include "index_builder.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <deque>
#include <new>

#include "index_header.h"
#include "siphash.h"

namespace sluice::fuse_client {

std::string TrimSlashes(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

bool IsFileName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('\0') == std::string_view::npos;
}

namespace {

std::uint64_t NodeId(const std::string& identity) {
  const std::uint64_t id = SipHash(identity);
  return id > kRootId ? id : id + kRootId + 1;
}

}  // namespace

std::uint64_t FileId(const std::string& identity, const std::string& path,
                     const std::string& version) {
  return NodeId(identity + '\0' + path + '\0' + version);
}

std::uint64_t DirectoryId(std::string_view path) {
  return path.empty() ? kRootId : NodeId(std::string(path) + '/');
}

namespace {

// Byte order in which '/' comes first, so that everything below a directory is contiguous and
// siblings are sorted by name.
bool PathLess(std::string_view a, std::string_view b) {
  const std::size_t common = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (a[i] == b[i]) continue;
    if (a[i] == '/') return true;
    if (b[i] == '/') return false;
    return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[i]);
  }
  return a.size() < b.size();
}

bool IsPath(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (!IsFileName(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool IsBelow(std::string_view path, std::string_view directory) {
  return directory.empty() || path == directory ||
         (path.size() > directory.size() && path.starts_with(directory) &&
          path[directory.size()] == '/');
}

std::int64_t Nanoseconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

// The parts of `path` that `before`, its predecessor in the order, does not have as a directory or
// by its own name: "a/b/c" after "a/d" -> "b/c".
std::string_view NewParts(std::string_view path, std::string_view before) {
  const auto common =
      static_cast<std::size_t>(std::ranges::mismatch(path, before).in1 - path.begin());
  if (common == before.size() && common < path.size() && path[common] == '/') {
    return path.substr(common + 1);
  }
  const std::size_t slash = path.substr(0, common).rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

IndexDraft::IndexDraft(std::vector<MountListing> mounts) : mounts_(std::move(mounts)) {
  for (const MountListing& mount : mounts_) roots_.push_back(TrimSlashes(mount.path));
  Collect();
  std::ranges::sort(entries_, [&](const Entry& a, const Entry& b) {
    const std::string_view path_a = Path(a);
    const std::string_view path_b = Path(b);
    if (path_a != path_b) return PathLess(path_a, path_b);
    return a.mount == b.mount ? a.object < b.object : a.mount < b.mount;
  });
  DropHidden();
  Measure();
}

std::string_view IndexDraft::Path(const Entry& entry) const {
  if (entry.object == kDirectory) return roots_[entry.mount];
  return mounts_[entry.mount].listing.objects[entry.object].path;
}

// Every object that may have a place, under its whole path, and the directories of the mounts.
void IndexDraft::Collect() {
  std::size_t count = mounts_.size();
  for (const MountListing& mount : mounts_) count += mount.listing.objects.size();
  entries_.reserve(count);
  for (std::size_t m = 0; m < mounts_.size(); ++m) {
    const auto mount = static_cast<std::uint16_t>(m);
    Listing& listing = mounts_[m].listing;
    skipped_ += listing.skipped;
    if (!roots_[m].empty()) entries_.push_back({kDirectory, mount});
    for (std::uint32_t i = 0; i < listing.objects.size(); ++i) {
      OriginObject& object = listing.objects[i];
      memory_ += MemoryOf(object);
      const bool possible = IsPath(object.path) && object.version.size() <= 0xffff &&
                            (object.kind != ObjectKind::kLink || !object.version.empty());
      if (!roots_[m].empty()) object.path.insert(0, roots_[m] + "/");
      const bool hidden = std::ranges::any_of(roots_, [&](const std::string& other) {
        return other.size() > roots_[m].size() && IsBelow(object.path, other);
      });
      if (possible && !hidden) {
        entries_.push_back({i, mount});
      } else {
        ++skipped_;
      }
    }
  }
}

// Leaves one entry for each path, and none of a file that is another entry's directory.
void IndexDraft::DropHidden() {
  std::size_t kept = 0;
  for (std::size_t begin = 0; begin < entries_.size();) {
    const std::string_view path = Path(entries_[begin]);
    std::size_t end = begin;
    std::size_t objects = 0;
    std::size_t chosen = begin;
    for (; end < entries_.size() && Path(entries_[end]) == path; ++end) {
      if (entries_[end].object == kDirectory) {
        chosen = end;
      } else {
        ++objects;
      }
    }
    const bool directory = entries_[chosen].object == kDirectory ||
                           (end < entries_.size() && IsBelow(Path(entries_[end]), path));
    skipped_ += objects - (directory ? 0 : 1);
    if (!directory || entries_[chosen].object == kDirectory) entries_[kept++] = entries_[chosen];
    begin = end;
  }
  entries_.resize(kept);
}

void IndexDraft::Measure() {
  nodes_ = 1;
  std::string_view before;
  for (const Entry& entry : entries_) {
    const std::string_view parts = NewParts(Path(entry), before);
    const auto slashes = static_cast<std::size_t>(std::ranges::count(parts, '/'));
    nodes_ += slashes + 1;
    string_bytes_ += parts.size() - slashes;
    if (entry.object != kDirectory) string_bytes_ += Object(entry).version.size();
    before = Path(entry);
  }
}

std::uint64_t IndexDraft::bytes() const {
  return sizeof(Index::Header) + nodes_ * (sizeof(IndexNode) + sizeof(Index::IdEntry)) +
         string_bytes_;
}

// Fills one block of bytes from a draft.
class IndexWriter {
 public:
  IndexWriter(const IndexDraft& draft, std::span<std::byte> out) : draft_(draft) {
    header_.node_count = static_cast<std::uint32_t>(draft.nodes_);
    header_.nodes_offset = sizeof(Index::Header);
    header_.ids_offset = header_.nodes_offset + draft.nodes_ * sizeof(IndexNode);
    header_.strings_offset = header_.ids_offset + draft.nodes_ * sizeof(Index::IdEntry);
    header_.total_bytes = out.size();
    header_.skipped = draft.skipped_;
    nodes_ = {reinterpret_cast<IndexNode*>(out.data() + header_.nodes_offset), draft.nodes_};
    ids_ = {reinterpret_cast<Index::IdEntry*>(out.data() + header_.ids_offset), draft.nodes_};
    strings_ = {reinterpret_cast<char*>(out.data() + header_.strings_offset), draft.string_bytes_};
    base_ = out.data();
  }

  void Write() {
    AddTree();
    assert(node_count_ == nodes_.size() && string_count_ == strings_.size());
    for (std::size_t i = nodes_.size() - 1; i > 0; --i) {
      IndexNode& parent = nodes_[nodes_[i].parent];
      parent.modified_ns = std::max(parent.modified_ns, nodes_[i].modified_ns);
    }
    AddIds();
    std::memcpy(base_, &header_, sizeof(header_));
  }

 private:
  struct Range {
    std::uint32_t node = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t prefix = 0;  // bytes of the path that name the directory, with its '/'
  };

  // Breadth first, so that the children of a directory are neighbours.
  void AddTree() {
    IndexNode root;
    root.id = kRootId;
    root.is_directory = 1;
    Add(root);
    std::deque<Range> pending = {{0, 0, draft_.entries_.size(), 0}};
    while (!pending.empty()) {
      const Range range = pending.front();
      pending.pop_front();
      AddChildren(range, pending);
    }
  }

  void AddChildren(const Range& range, std::deque<Range>& pending) {
    const auto& entries = draft_.entries_;
    nodes_[range.node].first_child = node_count_;
    for (std::size_t begin = range.begin; begin < range.end;) {
      const std::string_view path = draft_.Path(entries[begin]);
      const std::size_t slash = std::min(path.find('/', range.prefix), path.size());
      const std::string_view child = path.substr(0, slash);  // path of the child
      std::size_t end = begin + 1;
      while (end < range.end && IsBelow(draft_.Path(entries[end]), child)) ++end;
      // The entry that names the child itself, a file or a mount's directory, comes first.
      const bool own = path.size() == child.size();
      if (own && entries[begin].object != IndexDraft::kDirectory) {
        AddFile(range, entries[begin]);
      } else {
        const std::uint32_t node = AddDirectory(range, child, entries[begin].mount);
        pending.push_back({node, begin + (own ? 1 : 0), end, child.size() + 1});
      }
      begin = end;
    }
    nodes_[range.node].child_count = node_count_ - nodes_[range.node].first_child;
  }

  void AddFile(const Range& parent, const IndexDraft::Entry& entry) {
    const OriginObject& object = draft_.Object(entry);
    IndexNode node = Child(parent, object.path, entry.mount);
    node.size = object.size;
    node.modified_ns = Nanoseconds(object.modified);
    node.version_offset = Store(object.version);
    node.version_length = static_cast<std::uint16_t>(object.version.size());
    std::string version = object.version;
    if (object.kind == ObjectKind::kLink) {
      node.is_link = 1;
      version += '\0';  // a file may have this version, too
    } else {
      ++header_.files;
      header_.data_bytes += object.size;
    }
    node.id = FileId(draft_.mounts_[entry.mount].identity, object.path, version);
    Add(node);
  }

  std::uint32_t AddDirectory(const Range& parent, std::string_view path, std::uint16_t mount) {
    IndexNode node = Child(parent, path, mount);
    node.is_directory = 1;
    node.id = DirectoryId(path);
    return Add(node);
  }

  IndexNode Child(const Range& parent, std::string_view path, std::uint16_t mount) {
    const std::string_view name = path.substr(parent.prefix);
    IndexNode node;
    node.parent = parent.node;
    node.name_offset = Store(name);
    node.name_length = static_cast<std::uint16_t>(name.size());
    node.mount = mount;
    return node;
  }

  std::uint32_t Add(const IndexNode& node) {
    new (&nodes_[node_count_]) IndexNode(node);
    return node_count_++;
  }

  std::uint64_t Store(std::string_view text) {
    const std::uint64_t offset = string_count_;
    std::ranges::copy(text, strings_.begin() + static_cast<std::ptrdiff_t>(offset));
    string_count_ += text.size();
    return offset;
  }

  // Sorted by id. Two of n nodes share a hash with a chance of n²/2^64; the later one then gets the
  // next number that is free.
  void AddIds() {
    for (std::uint32_t i = 0; i < ids_.size(); ++i) {
      new (&ids_[i]) Index::IdEntry{nodes_[i].id, i, 0};
    }
    std::ranges::sort(ids_, [](const Index::IdEntry& a, const Index::IdEntry& b) {
      return a.id == b.id ? a.node < b.node : a.id < b.id;
    });
    for (std::size_t i = 1; i < ids_.size(); ++i) {
      if (ids_[i].id > ids_[i - 1].id) continue;
      ids_[i].id = ids_[i - 1].id + 1;
      nodes_[ids_[i].node].id = ids_[i].id;
    }
  }

  const IndexDraft& draft_;
  Index::Header header_;
  std::byte* base_ = nullptr;
  std::span<IndexNode> nodes_;
  std::span<Index::IdEntry> ids_;
  std::span<char> strings_;
  std::uint32_t node_count_ = 0;
  std::size_t string_count_ = 0;
};

void IndexDraft::WriteTo(std::span<std::byte> out) const { IndexWriter(*this, out).Write(); }

}  // namespace sluice::fuse_client
