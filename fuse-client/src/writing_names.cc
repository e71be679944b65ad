// Directories and new names: the part of Writing that is about no bytes.
#include <cerrno>
#include <utility>

#include "writing.h"

namespace sluice::fuse_client {

Outcome<Attributes> Writing::MakeDirectory(std::uint64_t parent, std::string_view name) {
  const auto place = PlaceOf(parent, name);
  if (!place) return tl::unexpected(place.error());
  if (files_.Lookup(parent, name)) return tl::unexpected(EEXIST);
  NewEntry entry{
      .directory = parent, .path = place->path, .kind = NewKind::kDirectory, .mount = place->mount};
  entry.attributes = {.id = DirectoryId(place->path),
                      .is_directory = true,
                      .modified_ns = NowNs(),
                      .passing = true};
  const Attributes attributes = entry.attributes;
  files_.New().Put(std::move(entry));
  return attributes;
}

int Writing::RemoveDirectory(std::uint64_t parent, std::string_view name) {
  const auto present = files_.Lookup(parent, name);
  if (!present) return ENOENT;
  if (!present->is_directory) return ENOTDIR;
  const auto made = files_.New().Child(parent, name);
  // One of the origin has files.
  if (!made || !files_.New().Children(present->id, 0).empty()) return ENOTEMPTY;
  files_.New().Remove(parent, name);
  return 0;
}

void Writing::Rename(Name from, Name to, bool replace, WriteAnswer answer) {
  const auto source = PlaceOf(from.directory, from.name);
  if (!source) return answer(source.error());
  const auto target = PlaceOf(to.directory, to.name);
  if (!target) return answer(target.error());
  const auto made = files_.New().Child(from.directory, from.name);
  const auto writer =
      made && made->kind == NewKind::kWriting ? WriterOf(made->attributes.id) : std::nullopt;
  // Closed, but on its way, is good enough: then its end is waited for.
  if (writer && writer->file->Now() == WriteFile::Phase::kOpen &&
      (!writer->closed || writer->file->Size() > 0)) {
    return answer(EBUSY);
  }
  std::function<void()> rename = [this, source = *source, target = *target, replace,
                                  answer = std::move(answer)] {
    Gated(answer)(RenameNow(source, target, replace));
  };
  if (!writer) return Do(std::move(rename));
  writer->file->Complete(Gated([this, rename = std::move(rename)](int /*error*/) { Do(rename); }));
}

// Files that were written under this name and are open still.
void Writing::Seal(const Place& place) {
  state_.With([&](const State& state) {
    for (const auto& [handle, writer] : state.writers) {
      if (writer.entry.mount == place.mount && writer.entry.path == place.path) writer.file->Seal();
    }
  });
}

int Writing::RenameNow(const Place& from, const Place& to, bool replace) {
  if (from.mount != to.mount) return EXDEV;
  if (from.path == to.path) return 0;
  const auto source = files_.Lookup(from.directory, from.Name());
  if (!source) return ENOENT;
  const auto own = state_.With([&](const State& state) -> std::optional<Own> {
    const auto found = state.own.find(source->id);
    return found == state.own.end() ? std::nullopt : std::optional(found->second);
  });
  if (!own) {
    log_.Warn("not renamed: only files that this client has written can be", {{"path", from.path}});
    return EPERM;
  }
  if (const auto present = files_.Lookup(to.directory, to.Name())) {
    if (present->is_directory) return EISDIR;
    if (!replace) return EEXIST;
    if (WriterOf(present->id)) return EBUSY;
  }
  const Written written = options_.mounts[from.mount].writer->Rename(own->object, InOrigin(to));
  if (!written.status) {
    log_.Error("a file could not be renamed",
               {{"path", from.path}, {"to", to.path}, {"error", written.status.error().message}});
    return WriteFile::ErrnoOf(written.status.error(), written.shortage);
  }
  Seal(from);
  Seal(to);
  OnMade({.directory = to.directory, .path = to.path, .mount = to.mount}, written.object);
  state_.With([&](State& state) { state.own.erase(source->id); });
  NewEntry gone{
      .directory = from.directory, .path = from.path, .kind = NewKind::kGone, .mount = from.mount};
  files_.New().Put(std::move(gone));
  return 0;
}

}  // namespace sluice::fuse_client
