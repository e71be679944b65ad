#include "writing.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <utility>

#include <fmt/format.h>

namespace sluice::fuse_client {
namespace {

constexpr std::uint64_t kMemoryOfFile = 8ULL << 20;  // one block
constexpr std::size_t kLeastFiles = 4;
constexpr std::size_t kMostOwn = 65'536;

std::uint64_t NewNumber() {
  std::random_device random;
  const std::uint64_t number = static_cast<std::uint64_t>(random()) << 32U | random();
  return number > kRootId ? number : number + kRootId + 1;
}

bool LiesIn(const std::string& path, const std::string& mount) {
  return mount.empty() ||
         (path.size() > mount.size() && path.starts_with(mount) && path[mount.size()] == '/');
}

}  // namespace

std::int64_t Writing::NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Writing::Writing(WritingOptions options, FileSystem& files, UploadJournal& journal,
                 platform::Metrics& metrics, const platform::Log& log)
    : options_(std::move(options)),
      files_(files),
      journal_(journal),
      log_(log),
      metrics_(metrics),
      memory_(std::make_shared<WriteMemory>(options_.memory_bytes)) {
  Do([this, left = journal_.LeftOver()] { GiveUpLeftOver(left); });
  worker_ = std::jthread([this] { Work(); });
}

Writing::~Writing() {
  Stop();
  worker_.join();
}

void Writing::Stop() {
  {
    const std::unique_lock lock(gate_->mutex);
    gate_->closed = true;
  }
  jobs_.With([](Jobs& jobs) {
    jobs.stopping = true;
    jobs.waiting.clear();
  });
  jobs_.Notify();
  const auto writers = state_.With([](State& state) { return std::exchange(state.writers, {}); });
  for (const auto& [handle, writer] : writers) writer.file->GiveUp();
}

// ---- what blocks -------------------------------------------------------------------------------

void Writing::Do(std::function<void()> job) {
  jobs_.With([&](Jobs& jobs) {
    if (!jobs.stopping) jobs.waiting.push_back(std::move(job));
  });
  jobs_.Notify();
}

void Writing::Work() {
  while (true) {
    jobs_.WaitUntil(std::chrono::steady_clock::now() + std::chrono::hours(1),
                    [](const Jobs& jobs) { return jobs.stopping || !jobs.waiting.empty(); });
    std::function<void()> job;
    const bool stopping = jobs_.With([&](Jobs& jobs) {
      if (!jobs.waiting.empty()) {
        job = std::move(jobs.waiting.front());
        jobs.waiting.pop_front();
      }
      return jobs.stopping;
    });
    if (stopping) return;
    if (job) job();
  }
}

// What a client before this one was sending when it ended.
void Writing::GiveUpLeftOver(const std::vector<UploadJournal::Left>& left) {
  for (const UploadJournal::Left& upload : left) {
    const auto mount = std::ranges::find(options_.mounts, upload.origin, &WritableMount::identity);
    const bool known = mount != options_.mounts.end() && mount->writer != nullptr;
    const Status given_up = known ? mount->writer->GiveUp(upload.token) : Ok();
    if (!given_up) {
      log_.Warn("an upload of a client before this one could not be given up",
                {{"error", given_up.error().message}});
      continue;
    }
    journal_.Drop(upload.record);
    log_.Info("gave up an upload of a client before this one", {{"origin", upload.origin}});
  }
}

// ---- places ------------------------------------------------------------------------------------

std::optional<std::string> Writing::DirectoryPath(std::uint64_t id) const {
  const auto index = files_.Current();
  if (const auto node = index->Find(id)) {
    if (index->Node(*node).is_directory == 0) return std::nullopt;
    return index->Path(*node);
  }
  const auto made = files_.New().Find(id);
  if (!made || made->kind != NewKind::kDirectory) return std::nullopt;
  return made->path;
}

// The mount is the innermost one; what lies above all mounts belongs to none.
Outcome<Writing::Place> Writing::PlaceOf(std::uint64_t directory, std::string_view name) const {
  constexpr std::size_t kLongestName = 255;
  if (name.size() > kLongestName) return tl::unexpected(ENAMETOOLONG);
  if (!IsFileName(name)) return tl::unexpected(EINVAL);
  const auto parent = DirectoryPath(directory);
  if (!parent) return tl::unexpected(ESTALE);
  Place place{.directory = directory, .path = *parent + (parent->empty() ? "" : "/"), .mount = 0};
  place.path += name;
  const WritableMount* found = nullptr;
  for (const WritableMount& mount : options_.mounts) {
    if (!LiesIn(place.path, mount.path)) continue;
    if (found == nullptr || mount.path.size() > found->path.size()) found = &mount;
  }
  if (found == nullptr || found->writer == nullptr) return tl::unexpected(EROFS);
  place.mount = static_cast<std::uint16_t>(found - options_.mounts.data());
  return place;
}

std::string Writing::InOrigin(const Place& place) const {
  const std::string& mount = options_.mounts[place.mount].path;
  return mount.empty() ? place.path : place.path.substr(mount.size() + 1);
}

// ---- files -------------------------------------------------------------------------------------

WriteAnswer Writing::Gated(WriteAnswer answer) const {
  return [gate = gate_, answer = std::move(answer)](int error) {
    const std::shared_lock lock(gate->mutex);
    if (!gate->closed) answer(error);
  };
}

std::shared_ptr<WriteFile> Writing::MakeFile(const NewEntry& entry) {
  const WritableMount& mount = options_.mounts[entry.mount];
  const std::string path =
      InOrigin({.directory = entry.directory, .path = entry.path, .mount = entry.mount});
  WriteFile::Parts parts{.name = mount.name + (mount.name.ends_with('/') ? "" : "/") + path,
                         .writer = *mount.writer,
                         .records = journal_.Of(mount.identity),
                         .memory = memory_,
                         .metrics = metrics_,
                         .log = log_,
                         .on_made =
                             [this, gate = gate_, entry](const OriginObject& object) {
                               const std::shared_lock lock(gate->mutex);
                               if (!gate->closed) OnMade(entry, object);
                             },
                         .on_size =
                             [this, gate = gate_, entry](std::uint64_t size) {
                               const std::shared_lock lock(gate->mutex);
                               if (gate->closed) return;
                               files_.New().SetSize(entry.directory, entry.Name(), size);
                             }};
  return std::make_shared<WriteFile>(path, std::move(parts));
}

Outcome<Writing::Opened> Writing::Begin(const Place& place, std::uint64_t id) {
  const std::size_t most =
      std::max<std::size_t>(kLeastFiles, options_.memory_bytes / kMemoryOfFile);
  if (state_.With([](const State& state) { return state.writers.size(); }) >= most) {
    log_.Warn("too many files are being written at once; a larger memory budget allows more",
              {{"files", most}});
    return tl::unexpected(ENFILE);
  }
  Writer writer;
  Opened opened;
  opened.handle = NewNumber();
  writer.id = id == 0 ? opened.handle : id;
  writer.entry = {.directory = place.directory, .path = place.path, .mount = place.mount};
  writer.entry.attributes = {.id = writer.id, .modified_ns = NowNs(), .passing = true};
  writer.before = files_.New().Child(place.directory, place.Name());
  writer.file = MakeFile(writer.entry);
  opened.attributes = writer.entry.attributes;
  files_.New().Put(writer.entry);
  state_.With([&](State& state) { state.writers.emplace(opened.handle, std::move(writer)); });
  return opened;
}

Outcome<Writing::Opened> Writing::Create(std::uint64_t directory, std::string_view name,
                                         int flags) {
  const auto place = PlaceOf(directory, name);
  if (!place) return tl::unexpected(place.error());
  if (const auto present = files_.Lookup(directory, name)) {
    if ((flags & O_EXCL) != 0) return tl::unexpected(EEXIST);
    return tl::unexpected(ESTALE);  // the kernel did not know of it: it looks again, and opens it
  }
  return Begin(*place, 0);
}

Outcome<Writing::Opened> Writing::Open(std::uint64_t id, int flags) {
  if ((flags & O_TRUNC) == 0) return tl::unexpected(EPERM);
  if (files_.IsReplaced(id)) return tl::unexpected(ESTALE);
  // A reader would see the file shrink under it.
  if (files_.IsOpen(id)) return tl::unexpected(ETXTBSY);
  const auto index = files_.Current();
  if (const auto node = index->Find(id)) {
    const IndexNode& file = index->Node(*node);
    if (file.is_directory != 0) return tl::unexpected(EISDIR);
    const auto place = PlaceOf(index->Node(file.parent).id, index->Name(*node));
    return place ? Begin(*place, id) : tl::unexpected(place.error());
  }
  const auto made = files_.New().Find(id);
  if (!made || made->kind != NewKind::kWritten) return tl::unexpected(ESTALE);
  const auto place = PlaceOf(made->directory, made->Name());
  return place ? Begin(*place, id) : tl::unexpected(place.error());
}

std::shared_ptr<WriteFile> Writing::FileOf(std::uint64_t handle) const {
  return state_.With([&](const State& state) {
    const auto found = state.writers.find(handle);
    return found == state.writers.end() ? nullptr : found->second.file;
  });
}

std::optional<Writing::Writer> Writing::WriterOf(std::uint64_t id) const {
  return state_.With([&](const State& state) -> std::optional<Writer> {
    for (const auto& [handle, writer] : state.writers) {
      if (writer.id == id) return writer;
    }
    return std::nullopt;
  });
}

// A handle that is not known is one of a process that was killed: what was written through it
// is lost, and this is how the application is told.
void Writing::Write(std::uint64_t handle, std::uint64_t offset, std::span<const std::byte> bytes,
                    std::uint64_t owner, WriteAnswer answer) {
  const auto file = FileOf(handle);
  if (file == nullptr) return answer(EIO);
  file->Write(offset, bytes, owner, Gated(std::move(answer)));
}

void Writing::Flush(std::uint64_t handle, std::uint64_t owner, WriteAnswer answer) {
  const auto file = state_.With([&](State& state) -> std::shared_ptr<WriteFile> {
    const auto found = state.writers.find(handle);
    if (found == state.writers.end()) return nullptr;
    found->second.closed = true;
    return found->second.file;
  });
  if (file == nullptr) return answer(EIO);
  file->Flush(owner, Gated(std::move(answer)));
}

void Writing::Sync(std::uint64_t handle, WriteAnswer answer) {
  const auto file = FileOf(handle);
  if (file == nullptr) return answer(EIO);
  file->Complete(Gated(std::move(answer)));
}

void Writing::Release(std::uint64_t handle) {
  const auto file = FileOf(handle);
  if (file == nullptr) return;
  file->Complete(Gated([this, handle](int /*error*/) { OnReleased(handle); }));
}

void Writing::OnReleased(std::uint64_t handle) {
  auto writer = state_.With([&](State& state) -> std::optional<Writer> {
    auto node = state.writers.extract(handle);
    return node.empty() ? std::nullopt : std::optional(std::move(node.mapped()));
  });
  if (!writer || writer->file->Now() != WriteFile::Phase::kFailed) return;
  // Nothing has come of it: the name means what it meant before.
  const NewEntry& entry = writer->entry;
  const auto present = files_.New().Child(entry.directory, entry.Name());
  if (!present || present->kind != NewKind::kWriting || present->attributes.id != writer->id)
    return;
  if (writer->before) return files_.New().Put(*writer->before);
  files_.New().Remove(entry.directory, entry.Name());
}

void Writing::OnMade(NewEntry entry, const OriginObject& object) {
  const std::string& identity = options_.mounts[entry.mount].identity;
  entry.kind = NewKind::kWritten;
  entry.object = object;
  entry.attributes = {.id = FileId(identity, entry.path, object.version),
                      .size = object.size,
                      .modified_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                         object.modified.time_since_epoch())
                                         .count(),
                      .passing = true};
  state_.With([&](State& state) {
    if (state.own.size() >= kMostOwn) state.own.clear();
    state.own[entry.attributes.id] = {object, entry.mount};
  });
  files_.New().Put(std::move(entry));
  options_.on_made();
}

std::optional<Attributes> Writing::AttributesOf(std::uint64_t id) const {
  const auto writer = WriterOf(id);
  if (!writer) return std::nullopt;
  Attributes attributes = writer->entry.attributes;
  attributes.size = writer->file->Size();
  return attributes;
}

bool Writing::RefuseReading(std::uint64_t id, WriteAnswer answer) {
  const auto writer = WriterOf(id);
  if (!writer) return false;
  const bool empty_and_closed = writer->closed && writer->file->Size() == 0;
  if (writer->file->Now() == WriteFile::Phase::kOpen && !empty_and_closed) {
    answer(EBUSY);
  } else {
    writer->file->Complete(Gated([answer = std::move(answer)](int /*error*/) { answer(ESTALE); }));
  }
  return true;
}

int Writing::Truncate(std::uint64_t id, std::uint64_t size) {
  const auto writer = WriterOf(id);
  if (!writer) return EPERM;
  const int error = writer->file->Truncate(size);
  if (error == 0) files_.New().SetSize(writer->entry.directory, writer->entry.Name(), size);
  return error;
}

}  // namespace sluice::fuse_client
