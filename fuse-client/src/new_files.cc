#include "new_files.h"

#include <algorithm>
#include <utility>

namespace sluice::fuse_client {

void NewFiles::Put(NewEntry entry) {
  state_.With([&](State& state) {
    Key key(entry.directory, entry.Name());
    state.entries[std::move(key)] = {std::move(entry), ++state.last_number, 0};
  });
}

void NewFiles::Remove(std::uint64_t directory, std::string_view name) {
  state_.With([&](State& state) { state.entries.erase({directory, std::string(name)}); });
}

void NewFiles::SetSize(std::uint64_t directory, std::string_view name, std::uint64_t size) {
  state_.With([&](State& state) {
    const auto found = state.entries.find({directory, std::string(name)});
    if (found == state.entries.end() || found->second.entry.kind != NewKind::kWriting) return;
    found->second.entry.attributes.size = size;
  });
}

std::optional<NewEntry> NewFiles::Child(std::uint64_t directory, std::string_view name) const {
  return state_.With([&](const State& state) -> std::optional<NewEntry> {
    if (state.entries.empty()) return std::nullopt;
    const auto found = state.entries.find({directory, std::string(name)});
    if (found == state.entries.end() || found->second.settled != 0) return std::nullopt;
    return found->second.entry;
  });
}

bool NewFiles::Replaces(std::uint64_t directory, std::string_view name, std::uint64_t id) const {
  const auto made = Child(directory, name);
  return made && made->attributes.id != id;
}

std::optional<NewEntry> NewFiles::Find(std::uint64_t id) const {
  return state_.With([&](const State& state) -> std::optional<NewEntry> {
    for (const auto& [key, held] : state.entries) {
      if (held.entry.attributes.id == id && held.settled == 0 &&
          held.entry.kind != NewKind::kGone) {
        return held.entry;
      }
    }
    return std::nullopt;
  });
}

std::vector<NewFiles::Numbered> NewFiles::Children(std::uint64_t directory,
                                                   std::uint64_t generation) const {
  std::vector<Numbered> children;
  state_.With([&](const State& state) {
    for (auto at = state.entries.lower_bound({directory, ""});
         at != state.entries.end() && at->first.first == directory; ++at) {
      const Held& held = at->second;
      if (held.settled == 0 || held.settled > generation) {
        children.push_back({held.number, held.entry});
      }
    }
  });
  std::ranges::sort(children, {}, &Numbered::number);
  return children;
}

bool NewFiles::HasChildren(std::uint64_t directory) const {
  return state_.With([&](const State& state) {
    const auto first = state.entries.lower_bound({directory, ""});
    return first != state.entries.end() && first->first.first == directory;
  });
}

std::uint64_t NewFiles::Mark() const {
  return state_.With([](const State& state) { return state.last_number; });
}

}  // namespace sluice::fuse_client
