// Reading directories: what the index has, then what this client has made since.
#include <algorithm>

#include "file_system.h"

namespace sluice::fuse_client {
namespace {

// Where in a directory the entries begin that are not in the index.
constexpr std::uint64_t kFirstNew = 1ULL << 40;

}  // namespace

Result<std::uint64_t> FileSystem::OpenDirectory(std::uint64_t id) {
  const auto [index, generation] =
      snapshot_.With([](const Snapshot& s) { return std::pair(s.index, s.generation); });
  const auto node = index->Find(id);
  if (!node && !new_files_.Find(id)) return Fail(Gone(id));
  if (node && index->Node(*node).is_directory == 0) {
    return Fail(Code::kInvalidArgument, "not a directory");
  }
  open_directories_.With([&, &kept = index, number = generation](auto& directories) {
    OpenDirectories& entry = directories[number];
    entry.index = kept;
    ++entry.handles;
  });
  return generation;
}

void FileSystem::ReleaseDirectory(std::uint64_t handle) {
  open_directories_.With([&](auto& directories) {
    const auto found = directories.find(handle);
    if (found != directories.end() && --found->second.handles == 0) directories.erase(found);
  });
}

Status FileSystem::ReadDirectory(std::uint64_t id, std::uint64_t handle, std::uint64_t offset,
                                 const std::function<bool(const DirectoryEntry&)>& visit) const {
  auto [index, generation] =
      snapshot_.With([](const Snapshot& s) { return std::pair(s.index, s.generation); });
  open_directories_.With([&, &kept = index, &number = generation](const auto& directories) {
    const auto found = directories.find(handle);
    if (found == directories.end()) return;
    kept = found->second.index;
    number = handle;
  });
  const auto added = new_files_.Children(id, generation);
  if (offset >= kFirstNew) return ReadNewEntries(added, offset, visit);
  const auto node = index->Find(id);
  if (!node && !new_files_.Find(id)) return Fail(Gone(id));
  const IndexNode nothing{.id = id, .is_directory = 1};
  const IndexNode& directory = node ? index->Node(*node) : nothing;
  if (directory.is_directory == 0) return Fail(Code::kInvalidArgument, "not a directory");

  constexpr std::uint64_t kDots = 2;  // "." and ".."
  const std::uint64_t end = kDots + directory.child_count;
  for (std::uint64_t i = offset; i < end; ++i) {
    DirectoryEntry entry;
    entry.next = i + 1;
    if (i < kDots) {
      entry.name = i == 0 ? "." : "..";
      entry.attributes = {.id = id, .is_directory = true};
      if (node) entry.attributes = AttributesOf(*index, i == 0 ? *node : directory.parent);
    } else {
      const auto child = static_cast<std::uint32_t>(directory.first_child + (i - kDots));
      entry.name = index->Name(child);
      entry.attributes = AttributesOf(*index, child);
    }
    const bool hidden = std::ranges::any_of(
        added, [&](const NewFiles::Numbered& made) { return made.entry.Name() == entry.name; });
    if (!hidden && !visit(entry)) return Ok();
  }
  return ReadNewEntries(added, kFirstNew, visit);
}

// Behind those of the index; what is made meanwhile comes last.
Status FileSystem::ReadNewEntries(const std::vector<NewFiles::Numbered>& added,
                                  std::uint64_t offset,
                                  const std::function<bool(const DirectoryEntry&)>& visit) const {
  for (const NewFiles::Numbered& made : added) {
    const std::uint64_t place = kFirstNew + made.number;
    if (place < offset || made.entry.kind == NewKind::kGone) continue;
    if (!visit({.name = made.entry.Name(), .attributes = made.entry.attributes, .next = place + 1}))
      break;
  }
  return Ok();
}

}  // namespace sluice::fuse_client
