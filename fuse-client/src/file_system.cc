#include "file_system.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "index_object.h"

namespace sluice::fuse_client {
namespace {

// The listing is out of date: the object has another version, or is gone.
bool IsStale(const Error& error) {
  return error.code == Code::kConflict || error.code == Code::kNotFound;
}

// What an open may wait for the tail of a file that was read a moment ago, so that the next reading
// is passthrough: a small share of what that reading takes.
std::chrono::milliseconds Patience(std::uint64_t size) {
  constexpr std::uint64_t kBytesPerMillisecond = 10 << 20;
  constexpr std::uint64_t kMost = 500;
  return std::chrono::milliseconds(std::min(size / kBytesPerMillisecond, kMost));
}

// Registering a smaller file costs more than the one or two reads that it spares.
constexpr std::uint64_t kLeastPassedThrough = 1U << 20;
// Larger files have a read-ahead of their own.
constexpr std::uint64_t kMostPrefetched = 1U << 20;
// Of files that were asked for, or there already, and not opened: those of the two last walks.
constexpr std::size_t kMostHeld = 128;
// Readers that open so many files before they read any are rare.
constexpr std::uint32_t kMostOpensWithoutRead = 32;

// Rounded down, so that 1 means all of it.
std::string Share(std::uint64_t part, std::uint64_t whole) {
  constexpr double kSteps = 10'000;
  if (part >= whole) return "1.0000";
  return fmt::format(
      "{:.4f}",
      std::floor(static_cast<double>(part) / static_cast<double>(whole) * kSteps) / kSteps);
}

}  // namespace

Error FileSystem::Gone(std::uint64_t id) {
  return {Code::kConflict, fmt::format("node {:x} is not in the dataset any more", id)};
}

bool IsExtendedAttribute(std::string_view name) {
  return name == kVersionAttribute || name == kCachedAttribute;
}

FileSystem::FileSystem(FileSystemOptions options, cache::Reader& reader, OpenTable& opens,
                       platform::Metrics& metrics)
    : options_(std::move(options)),
      reader_(reader),
      opens_(opens),
      passthrough_opens_(metrics.AddCounter("sluice_fuse_passthrough_opens_total",
                                            "Opens whose reads the kernel does by itself")),
      passthrough_refused_(
          metrics.AddCounter("sluice_fuse_passthrough_refused_total",
                             "Opens of complete files that could not be passed through")),
      prefetched_files_(metrics.AddCounter("sluice_directory_prefetched_files_total",
                                           "Files asked for because those before them in their "
                                           "directory were opened in order")),
      objects_(metrics.AddGauge("sluice_fuse_objects", "Objects in the index")) {
  ahead_.With([&](Ahead& ahead) { ahead.order = DirectoryOrder(options_.files_ahead); });
  // The kernel's view of what the predecessor had open goes on.
  for (const OpenTable::Row& row : opens_.Load()) {
    auto inode = std::make_shared<OpenInode>();
    inode->entry = row.entry;
    inode->row = row.index;
    inode->users = row.entry.opens;
    open_inodes_.With([&](OpenInodes& inodes) { inodes[row.entry.id] = std::move(inode); });
  }
}

std::shared_ptr<const Index> FileSystem::Publish(std::shared_ptr<const Index> index,
                                                 std::uint64_t mark) {
  objects_.Set(static_cast<double>(index->Totals().files));
  const auto [before, generation] = snapshot_.With([&](Snapshot& snapshot) {
    return std::pair(std::exchange(snapshot.index, index), ++snapshot.generation);
  });
  new_files_.Settle(mark, generation,
                    [&](std::uint64_t id) { return index->Find(id).has_value(); });
  return before;
}

std::shared_ptr<const Index> FileSystem::Current() const {
  return snapshot_.With([](const Snapshot& snapshot) { return snapshot.index; });
}

Attributes FileSystem::AttributesOf(const Index& index, std::uint32_t node) const {
  const IndexNode& n = index.Node(node);
  return {n.id, n.is_directory != 0, n.size, n.modified_ns, n.is_link != 0};
}

Result<Attributes> FileSystem::Lookup(std::uint64_t directory, std::string_view name) const {
  if (const auto made = new_files_.Child(directory, name)) {
    if (made->kind == NewKind::kGone) return Fail(Code::kNotFound, "no such file");
    return made->attributes;
  }
  const auto index = Current();
  const auto parent = index->Find(directory);
  if (!parent && new_files_.Find(directory)) return Fail(Code::kNotFound, "no such file");
  if (!parent) return Fail(Gone(directory));
  const auto child = index->Child(*parent, name);
  if (!child) return Fail(Code::kNotFound, "no such file");
  return AttributesOf(*index, *child);
}

Result<Attributes> FileSystem::GetAttributes(std::uint64_t id) const {
  const auto index = Current();
  if (IsReplaced(id) && !IsOpen(id)) return Fail(Gone(id));
  if (const auto node = index->Find(id)) return AttributesOf(*index, *node);
  if (const auto made = new_files_.Find(id)) return made->attributes;
  // An open file that was replaced keeps its attributes.
  if (const auto inode = FindOpen(id); inode != nullptr) {
    const std::lock_guard lock(inode->mutex);
    if (inode->resolved) return inode->attributes;
  }
  return Fail(Gone(id));
}

Result<std::string> FileSystem::ReadLink(std::uint64_t id) const {
  const auto index = Current();
  const auto node = index->Find(id);
  if (!node) return Fail(Gone(id));
  if (index->Node(*node).is_link == 0) return Fail(Code::kInvalidArgument, "not a symbolic link");
  return std::string(index->Version(*node));
}

std::shared_ptr<FileSystem::OpenInode> FileSystem::FindOpen(std::uint64_t id) const {
  return open_inodes_.With([&](const OpenInodes& inodes) {
    const auto found = inodes.find(id);
    return found == inodes.end() ? nullptr : found->second;
  });
}

std::shared_ptr<FileSystem::OpenInode> FileSystem::Pin(std::uint64_t id, bool create) {
  return open_inodes_.With([&](OpenInodes& inodes) -> std::shared_ptr<OpenInode> {
    auto found = inodes.find(id);
    if (found == inodes.end()) {
      if (!create) return nullptr;
      found = inodes.emplace(id, std::make_shared<OpenInode>()).first;
    }
    ++found->second->users;
    return found->second;
  });
}

void FileSystem::Unpin(std::uint64_t id, std::uint32_t users) {
  open_inodes_.With([&](OpenInodes& inodes) {
    const auto found = inodes.find(id);
    if (found == inodes.end()) return;
    found->second->users -= std::min(users, found->second->users);
    if (found->second->users == 0) inodes.erase(found);
  });
}

std::shared_ptr<cache::File> FileSystem::OpenFile(const Index& index, std::uint32_t node) const {
  const MountSource& mount = options_.mounts[index.Node(node).mount];
  return reader_.Open(mount.source, ObjectAt(index, node, mount.path));
}

// Finds the object of an inode that this process has not used yet.
Status FileSystem::Resolve(OpenInode& inode, std::uint64_t id) {
  if (inode.file != nullptr) return Ok();
  const auto index = Current();
  const auto node = index->Find(id);
  if (!node) return ResolveNew(inode, id);
  const IndexNode& n = index->Node(*node);
  if (n.is_directory != 0) return Fail(Code::kInvalidArgument, "is a directory");
  if (n.is_link != 0) return Fail(Code::kInvalidArgument, "is a symbolic link");
  if (n.mount >= options_.mounts.size()) return Fail(Gone(id));
  inode.file = OpenFile(*index, *node);
  inode.attributes = AttributesOf(*index, *node);
  inode.resolved = true;
  // The kernel reads the file that a predecessor gave it: the cache must know that it is in use.
  if (inode.entry.backing_id != 0) (void)inode.file->CachedBytes();
  return Ok();
}

Status FileSystem::ResolveNew(OpenInode& inode, std::uint64_t id) {
  const auto made = new_files_.Find(id);
  if (!made || made->kind != NewKind::kWritten) return Fail(Gone(id));
  inode.file = reader_.Open(options_.mounts[made->mount].source, made->object);
  inode.attributes = made->attributes;
  inode.resolved = true;
  return Ok();
}

Status FileSystem::FirstOpen(OpenInode& inode, std::uint64_t id) {
  SLUICE_TRY(row, opens_.Acquire(), "open");
  inode.row = row;
  inode.entry = {.id = id, .backing_id = 0, .opens = 0};
  if (options_.backing_files == nullptr || inode.attributes.size < kLeastPassedThrough) return Ok();
  // One at a time may wait for the disk: the threads that answer the kernel are few.
  const bool first = !waiting_open_.exchange(true);
  const auto complete = inode.file->OpenComplete(first ? Patience(inode.attributes.size)
                                                       : std::chrono::milliseconds(0));
  if (first) waiting_open_ = false;
  if (!complete) return Ok();
  const auto backing = options_.backing_files->Register(id, complete->Get());
  if (backing) {
    inode.entry.backing_id = *backing;
  } else {
    passthrough_refused_.Add();
  }
  return Ok();
}

// The answer to an open that was counted already. When the inode is not open any more the kernel
// has got the answer before, and does not look at this one.
OpenedFile FileSystem::AsOpened(std::uint64_t id) const {
  const auto inode = FindOpen(id);
  if (inode == nullptr) return {};
  const std::lock_guard lock(inode->mutex);
  return {inode->entry.backing_id};
}

Result<OpenedFile> FileSystem::Open(std::uint64_t id, RequestEffect effect) {
  if (effect.Done()) return AsOpened(id);
  if (IsReplaced(id)) return Fail(Gone(id));
  const auto inode = Pin(id, /*create=*/true);
  const auto opened = [&]() -> Result<OpenedFile> {
    const std::lock_guard lock(inode->mutex);
    SLUICE_CHECK(Resolve(*inode, id), "open");
    if (inode->file->Stale()) {
      options_.on_stale();
      return Fail(Code::kConflict, "the object has changed at the origin");
    }
    if (inode->entry.opens == 0) SLUICE_CHECK(FirstOpen(*inode, id), "open");
    // In the table before the reply leaves: a successor must not choose another mode.
    ++inode->entry.opens;
    opens_.Set(inode->row, inode->entry, effect);
    return OpenedFile{inode->entry.backing_id};
  }();
  if (!opened) {
    Unpin(id, 1);
  } else if (opened->backing_id != 0) {
    passthrough_opens_.Add();
  }
  return opened;
}

void FileSystem::PrefetchAfter(std::uint64_t id) noexcept {
  try {
    const auto index = Current();
    const auto node = index->Find(id);
    if (!node) return;
    const std::uint64_t size = index->Node(*node).size;
    if (size == 0 || size > kMostPrefetched) return;
    if (++opens_without_read_ <= kMostOpensWithoutRead) return PrefetchBehind(*index, *node);
    // What was asked for is not going to be read either.
    std::deque<Ahead::Held> over;  // let go outside the lock
    ahead_.With([&](Ahead& ahead) { over.swap(ahead.files); });
  } catch (const std::bad_alloc&) {  // the open was answered; nobody waits for this
  }
}

void FileSystem::PrefetchBehind(const Index& index, std::uint32_t node) {
  const IndexNode& directory = index.Node(index.Node(node).parent);
  // Files are let go outside the lock.
  std::vector<Ahead::Held> over;
  const DirectoryOrder::Children wanted = ahead_.With([&](Ahead& ahead) {
    TakeHeld(ahead, index.Node(node).id, over);
    return ahead.order.OnOpen(directory.id, node - directory.first_child, directory.child_count);
  });
  for (std::uint32_t place = wanted.begin; place < wanted.end; ++place) {
    const IndexNode& next = index.Node(directory.first_child + place);
    if (next.is_directory != 0 || next.is_link != 0 || next.size == 0 ||
        next.size > kMostPrefetched || next.mount >= options_.mounts.size()) {
      continue;
    }
    auto file = OpenFile(index, directory.first_child + place);
    const cache::Prefetched outcome = file->Prefetch();
    if (outcome == cache::Prefetched::kNoRoom) {
      ahead_.With([&](Ahead& ahead) { ahead.order.GiveBack(directory.id, place); });
      return;
    }
    if (outcome == cache::Prefetched::kAsked) prefetched_files_.Add();
    // One that is there already, too: what the node cache knows of it is loaded now.
    ahead_.With([&](Ahead& ahead) {
      ahead.files.push_back({next.id, std::move(file)});
      if (ahead.files.size() > kMostHeld) TakeHeld(ahead, ahead.files.front().id, over);
    });
  }
}

std::size_t FileSystem::HeldAhead() const {
  return ahead_.With([](const Ahead& ahead) { return ahead.files.size(); });
}

bool FileSystem::IsOpen(std::uint64_t id) const {
  const auto inode = FindOpen(id);
  if (inode == nullptr) return false;
  const std::lock_guard lock(inode->mutex);
  return inode->entry.opens > 0;
}

bool FileSystem::IsReplaced(std::uint64_t id) const {
  const auto index = Current();
  const auto node = index->Find(id);
  if (!node) return false;
  return new_files_.Replaces(index->Node(index->Node(*node).parent).id, index->Name(*node), id);
}

// Moves what is held of a file to `out`.
void FileSystem::TakeHeld(Ahead& ahead, std::uint64_t id, std::vector<Ahead::Held>& out) {
  const auto found = std::find_if(ahead.files.begin(), ahead.files.end(),
                                  [&](const Ahead::Held& held) { return held.id == id; });
  if (found == ahead.files.end()) return;
  out.push_back(std::move(*found));
  ahead.files.erase(found);
}

void FileSystem::Release(std::uint64_t id, RequestEffect effect) {
  if (!effect.Done()) Close(id, effect);
}

void FileSystem::TakeBackOpen(std::uint64_t id, RequestEffect effect) {
  if (effect.Done()) Close(id, effect.Undone());
}

void FileSystem::Close(std::uint64_t id, RequestEffect effect) {
  const auto inode = Pin(id, /*create=*/false);
  if (inode == nullptr) return;
  std::uint32_t users = 1;  // of Pin
  {
    const std::lock_guard lock(inode->mutex);
    if (inode->entry.opens > 0) {
      ++users;
      if (--inode->entry.opens > 0) {
        opens_.Set(inode->row, inode->entry, effect);
      } else {
        if (inode->entry.backing_id != 0 && options_.backing_files != nullptr) {
          options_.backing_files->Unregister(inode->entry.backing_id);
        }
        opens_.Free(inode->row, effect);
        inode->entry = {};
        inode->file.reset();
      }
    }
  }
  Unpin(id, users);
}

Result<std::shared_ptr<cache::File>> FileSystem::FileOf(std::uint64_t id) {
  const auto inode = Pin(id, /*create=*/true);
  auto file = [&]() -> Result<std::shared_ptr<cache::File>> {
    const std::lock_guard lock(inode->mutex);
    SLUICE_CHECK(Resolve(*inode, id), "read");
    return inode->file;
  }();
  Unpin(id, 1);
  return file;
}

void FileSystem::Read(std::uint64_t id, std::uint64_t offset, std::size_t size,
                      cache::ReadCallback done) {
  opens_without_read_ = 0;
  const auto file = FileOf(id);
  if (!file) {
    done(Fail(file.error()));
    return;
  }
  (*file)->ReadAsync(offset, size, [this, done = std::move(done)](Result<cache::Bytes> bytes) {
    if (!bytes && IsStale(bytes.error())) options_.on_stale();
    done(std::move(bytes));
  });
}

Result<std::vector<std::string_view>> FileSystem::ExtendedAttributes(std::uint64_t id) const {
  const auto attributes = GetAttributes(id);
  if (!attributes) return Fail(attributes.error());
  if (attributes->is_directory || attributes->is_link) return std::vector<std::string_view>();
  return std::vector<std::string_view>{kVersionAttribute, kCachedAttribute};
}

Result<std::optional<std::string>> FileSystem::ExtendedAttribute(std::uint64_t id,
                                                                 std::string_view name) {
  const auto attributes = GetAttributes(id);
  if (!attributes) return Fail(attributes.error());
  if (attributes->is_directory || attributes->is_link || !IsExtendedAttribute(name)) {
    return std::optional<std::string>();
  }
  SLUICE_TRY(file, FileOf(id), "getxattr");
  if (name == kVersionAttribute) return std::optional(file->Object().version);
  return std::optional(Share(file->CachedBytes(), file->Object().size));
}

IndexTotals FileSystem::Totals() const { return Current()->Totals(); }

}  // namespace sluice::fuse_client
