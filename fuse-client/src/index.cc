#include "index.h"

#include <algorithm>
#include <cstring>

#include "index_header.h"

namespace sluice::fuse_client {
namespace {

Error Broken(const char* what) { return {Code::kInternal, std::string("index: ") + what}; }

// `count` records of `size` bytes at `offset` lie within `total`.
bool Fits(std::uint64_t offset, std::uint64_t count, std::uint64_t size, std::uint64_t total) {
  return offset <= total && offset % 8 == 0 && count <= (total - offset) / size;
}

}  // namespace

Result<std::shared_ptr<const Index>> Index::FromBytes(std::span<const std::byte> bytes,
                                                      std::shared_ptr<const void> owner) {
  Header header;
  if (bytes.size() < sizeof(header)) return Fail(Broken("too short"));
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != Header::kMagic && header.magic != Header::kWithoutLinks)
    return Fail(Broken("not an index"));
  if (header.total_bytes != bytes.size() || header.node_count == 0 ||
      !Fits(header.nodes_offset, header.node_count, sizeof(IndexNode), bytes.size()) ||
      !Fits(header.ids_offset, header.node_count, sizeof(IdEntry), bytes.size()) ||
      header.strings_offset > bytes.size()) {
    return Fail(Broken("offsets lead outside"));
  }
  std::shared_ptr<Index> index(new Index());
  index->owner_ = std::move(owner);
  index->bytes_ = bytes;
  index->nodes_ = {reinterpret_cast<const IndexNode*>(bytes.data() + header.nodes_offset),
                   header.node_count};
  index->ids_ = {reinterpret_cast<const IdEntry*>(bytes.data() + header.ids_offset),
                 header.node_count};
  index->strings_ = {reinterpret_cast<const char*>(bytes.data()) + header.strings_offset,
                     bytes.size() - header.strings_offset};
  SLUICE_CHECK(index->Check(), "state");
  return std::shared_ptr<const Index>(std::move(index));
}

Status Index::Check() const {
  const std::size_t count = nodes_.size();
  if (nodes_[0].id != kRootId || nodes_[0].is_directory == 0) return Fail(Broken("no root"));
  for (std::size_t i = 0; i < count; ++i) {
    const IndexNode& node = nodes_[i];
    const bool name_fits = node.name_offset <= strings_.size() &&
                           node.name_length <= strings_.size() - node.name_offset;
    const bool version_fits = node.version_offset <= strings_.size() &&
                              node.version_length <= strings_.size() - node.version_offset;
    const bool children_fit =
        node.child_count == 0 || (node.first_child > i && node.first_child <= count &&
                                  node.child_count <= count - node.first_child);
    // A parent comes before its children, so walking up ends.
    if (!name_fits || !version_fits || !children_fit || (i > 0 && node.parent >= i) ||
        ids_[i].node >= count) {
      return Fail(Broken("a node leads outside"));
    }
    if (node.is_link != 0 && (node.is_directory != 0 || node.version_length == 0)) {
      return Fail(Broken("a link without text"));
    }
  }
  return Ok();
}

std::string_view Index::Name(std::uint32_t node) const {
  return strings_.substr(nodes_[node].name_offset, nodes_[node].name_length);
}

std::string_view Index::Version(std::uint32_t node) const {
  return strings_.substr(nodes_[node].version_offset, nodes_[node].version_length);
}

std::string Index::Path(std::uint32_t node) const {
  std::vector<std::string_view> names;
  for (; node != 0; node = nodes_[node].parent) names.push_back(Name(node));
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += '/';
    path += *name;
  }
  return path;
}

std::optional<std::uint32_t> Index::Find(std::uint64_t id) const {
  const auto found = std::ranges::lower_bound(ids_, id, {}, &IdEntry::id);
  if (found == ids_.end() || found->id != id) return std::nullopt;
  return found->node;
}

std::optional<std::uint32_t> Index::Child(std::uint32_t directory, std::string_view name) const {
  const IndexNode& parent = nodes_[directory];
  std::uint32_t low = parent.first_child;
  std::uint32_t high = parent.first_child + parent.child_count;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    const int order = Name(middle).compare(name);
    if (order == 0) return middle;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return std::nullopt;
}

IndexTotals Index::Totals() const {
  Header header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  return {header.files, header.data_bytes, header.skipped};
}

namespace {

struct Comparison {
  const Index& before;
  const Index& after;
  const std::function<void(IndexChange)>& visit;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pending;  // directories in both

  // Merges the two sorted lists of children.
  void Directory(std::uint32_t old_directory, std::uint32_t new_directory) {
    const IndexNode& old_node = before.Node(old_directory);
    const IndexNode& new_node = after.Node(new_directory);
    std::uint32_t i = old_node.first_child;
    std::uint32_t j = new_node.first_child;
    const std::uint32_t i_end = i + old_node.child_count;
    const std::uint32_t j_end = j + new_node.child_count;
    while (i < i_end || j < j_end) {
      int order = 0;
      if (i == i_end) {
        order = 1;
      } else if (j == j_end) {
        order = -1;
      } else {
        order = before.Name(i).compare(after.Name(j));
      }
      if (order < 0) {
        visit({old_node.id, std::string(before.Name(i++))});
      } else if (order > 0) {
        visit({new_node.id, std::string(after.Name(j++))});
      } else {
        Entry(old_node.id, i++, j++);
      }
    }
  }

  void Entry(std::uint64_t directory, std::uint32_t i, std::uint32_t j) {
    if (before.Node(i).id != after.Node(j).id) {
      visit({directory, std::string(after.Name(j))});
    } else if (after.Node(j).is_directory != 0) {
      pending.emplace_back(i, j);
    }
  }
};

}  // namespace

void CompareIndexes(const Index& before, const Index& after,
                    const std::function<void(IndexChange)>& visit) {
  Comparison comparison{before, after, visit, {{0, 0}}};
  while (!comparison.pending.empty()) {
    const auto [i, j] = comparison.pending.back();
    comparison.pending.pop_back();
    comparison.Directory(i, j);
  }
}

}  // namespace sluice::fuse_client
