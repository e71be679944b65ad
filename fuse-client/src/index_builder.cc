#include <algorithm>
#include <cstring>
#include <deque>
#include <unordered_set>

#include "index_header.h"
#include "siphash.h"

namespace sluice::fuse_client {

std::string TrimSlashes(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
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

bool IsFileName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('\0') == std::string_view::npos;
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

struct Entry {
  std::string path;
  const OriginObject* object = nullptr;  // null: the directory of a mount
  std::uint16_t mount = kNoMount;
};

}  // namespace

class IndexBuilder {
 public:
  explicit IndexBuilder(const std::vector<MountListing>& mounts) : mounts_(mounts) {}

  std::vector<std::byte> Build() {
    Collect();
    std::ranges::sort(entries_, [](const Entry& a, const Entry& b) {
      return a.path == b.path ? a.mount < b.mount : PathLess(a.path, b.path);
    });
    AddTree();
    for (std::size_t i = nodes_.size() - 1; i > 0; --i) {
      IndexNode& parent = nodes_[nodes_[i].parent];
      parent.modified_ns = std::max(parent.modified_ns, nodes_[i].modified_ns);
    }
    return Serialize();
  }

 private:
  struct Range {
    std::uint32_t node = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t prefix = 0;  // bytes of the path that name the directory, with its '/'
  };

  void Collect() {
    std::vector<std::string> roots;
    for (const MountListing& mount : mounts_) roots.push_back(TrimSlashes(mount.path));
    for (std::size_t m = 0; m < mounts_.size(); ++m) {
      header_.skipped += mounts_[m].listing.skipped;
      if (!roots[m].empty()) entries_.push_back({roots[m], nullptr, static_cast<std::uint16_t>(m)});
      for (const OriginObject& object : mounts_[m].listing.objects) {
        std::string path = roots[m].empty() ? object.path : roots[m] + "/" + object.path;
        const bool hidden = std::ranges::any_of(roots, [&](const std::string& other) {
          return other.size() > roots[m].size() && IsBelow(path, other);
        });
        if (hidden || !IsPath(object.path) || object.version.size() > 0xffff) {
          ++header_.skipped;
        } else {
          entries_.push_back({std::move(path), &object, static_cast<std::uint16_t>(m)});
        }
      }
    }
  }

  // Breadth first, so that the children of a directory are neighbours.
  void AddTree() {
    IndexNode root;
    root.id = kRootId;
    root.is_directory = 1;
    nodes_.push_back(root);
    used_ids_.insert(kRootId);
    std::deque<Range> pending = {{0, 0, entries_.size(), 0}};
    while (!pending.empty()) {
      const Range range = pending.front();
      pending.pop_front();
      AddChildren(range, pending);
    }
  }

  void AddChildren(const Range& range, std::deque<Range>& pending) {
    nodes_[range.node].first_child = static_cast<std::uint32_t>(nodes_.size());
    for (std::size_t begin = range.begin; begin < range.end;) {
      const std::string_view path = entries_[begin].path;
      const std::size_t slash = std::min(path.find('/', range.prefix), path.size());
      const std::string_view child = path.substr(0, slash);  // path of the child
      std::size_t end = begin + 1;
      while (end < range.end && IsBelow(entries_[end].path, child)) ++end;
      // Entries that name the child itself come first: a mount's directory, or objects.
      std::size_t inner = begin;
      bool directory = entries_[end - 1].path.size() > child.size();
      for (; inner < end && entries_[inner].path.size() == child.size(); ++inner) {
        directory = directory || entries_[inner].object == nullptr;
      }
      const std::uint32_t node =
          AddNode(range, child, directory ? nullptr : &entries_[begin], entries_[begin].mount);
      header_.skipped += ObjectsIn(begin, inner) - (directory ? 0 : 1);
      if (directory) pending.push_back({node, inner, end, child.size() + 1});
      begin = end;
    }
    nodes_[range.node].child_count =
        static_cast<std::uint32_t>(nodes_.size()) - nodes_[range.node].first_child;
  }

  [[nodiscard]] std::uint64_t ObjectsIn(std::size_t begin, std::size_t end) const {
    std::uint64_t count = 0;
    for (std::size_t i = begin; i < end; ++i) count += entries_[i].object != nullptr ? 1 : 0;
    return count;
  }

  std::uint32_t AddNode(const Range& parent, std::string_view path, const Entry* file,
                        std::uint16_t mount) {
    const std::string_view name = path.substr(parent.prefix);
    IndexNode node;
    node.parent = parent.node;
    node.name_offset = Store(name);
    node.name_length = static_cast<std::uint16_t>(name.size());
    node.mount = mount;
    std::string identity;
    if (file != nullptr) {
      const OriginObject& object = *file->object;
      node.size = object.size;
      node.modified_ns = Nanoseconds(object.modified);
      node.version_offset = Store(object.version);
      node.version_length = static_cast<std::uint16_t>(object.version.size());
      identity = mounts_[mount].identity + '\0' + std::string(path) + '\0' + object.version;
      ++header_.files;
      header_.data_bytes += object.size;
    } else {
      node.is_directory = 1;
      identity = std::string(path) + '/';
    }
    node.id = UniqueId(std::move(identity));
    nodes_.push_back(node);
    return static_cast<std::uint32_t>(nodes_.size() - 1);
  }

  // Two of n nodes share a hash with a chance of n²/2^64; the later one then gets another.
  std::uint64_t UniqueId(std::string identity) {
    while (true) {
      const std::uint64_t id = SipHash(identity);
      if (id > kRootId && used_ids_.insert(id).second) return id;
      identity += '\1';
    }
  }

  std::uint64_t Store(std::string_view text) {
    const std::uint64_t offset = strings_.size();
    strings_ += text;
    return offset;
  }

  std::vector<std::byte> Serialize() {
    std::vector<Index::IdEntry> ids(nodes_.size());
    for (std::uint32_t i = 0; i < ids.size(); ++i) ids[i] = {nodes_[i].id, i, 0};
    std::ranges::sort(ids, {}, &Index::IdEntry::id);
    header_.node_count = static_cast<std::uint32_t>(nodes_.size());
    header_.nodes_offset = sizeof(Index::Header);
    header_.ids_offset = header_.nodes_offset + nodes_.size() * sizeof(IndexNode);
    header_.strings_offset = header_.ids_offset + ids.size() * sizeof(Index::IdEntry);
    header_.total_bytes = header_.strings_offset + strings_.size();
    std::vector<std::byte> out(header_.total_bytes);
    std::memcpy(out.data(), &header_, sizeof(header_));
    std::memcpy(out.data() + header_.nodes_offset, nodes_.data(),
                nodes_.size() * sizeof(IndexNode));
    std::memcpy(out.data() + header_.ids_offset, ids.data(), ids.size() * sizeof(Index::IdEntry));
    std::memcpy(out.data() + header_.strings_offset, strings_.data(), strings_.size());
    return out;
  }

  const std::vector<MountListing>& mounts_;
  std::vector<Entry> entries_;
  std::vector<IndexNode> nodes_;
  std::string strings_;
  std::unordered_set<std::uint64_t> used_ids_;
  Index::Header header_;
};

std::vector<std::byte> BuildIndex(const std::vector<MountListing>& mounts) {
  return IndexBuilder(mounts).Build();
}

}  // namespace sluice::fuse_client
