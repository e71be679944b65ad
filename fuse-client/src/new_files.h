// What this client has made since the listing that the index comes from: files while they are
// written, files that are at the origin already, directories that have no file yet, names that are
// gone. Laid over the index until a listing that began later says the same, or better.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/platform/guarded.h"
#include "sluice/ports/origin.h"

#include "attributes.h"

namespace sluice::fuse_client {

enum class NewKind {
  kDirectory,
  kWriting,  // its size is what has been written so far
  kWritten,  // at the origin
  kGone,     // renamed away: hides the index's entry of this name
};

struct NewEntry {
  std::uint64_t directory = 0;  // id of the parent
  std::string path;             // whole; the last component is the name
  NewKind kind = NewKind::kWriting;
  Attributes attributes{};
  std::uint16_t mount = 0;  // of a file
  OriginObject object{};    // of kWritten: as its origin knows it

  [[nodiscard]] std::string_view Name() const {
    return std::string_view(path).substr(path.rfind('/') + 1);
  }
};

// Threads: any.
class NewFiles {
 public:
  // In place of what has this path. An entry that says what the origin has counts from now on.
  void Put(NewEntry entry);
  void Remove(std::uint64_t directory, std::string_view name);
  // Of a file while it is written; nothing when it is not there or something else.
  void SetSize(std::uint64_t directory, std::string_view name, std::uint64_t size);

  [[nodiscard]] std::optional<NewEntry> Child(std::uint64_t directory, std::string_view name) const;
  [[nodiscard]] std::optional<NewEntry> Find(std::uint64_t id) const;
  // Whether a name of the index means another node than this one now.
  [[nodiscard]] bool Replaces(std::uint64_t directory, std::string_view name,
                              std::uint64_t id) const;

  // The entries of a directory in the order in which they came, for a reader of the snapshot
  // `generation`: those that it cannot know.
  struct Numbered {
    std::uint64_t number = 0;  // grows
    NewEntry entry;
  };
  [[nodiscard]] std::vector<Numbered> Children(std::uint64_t directory,
                                               std::uint64_t generation) const;

  // Whether a directory has entries that the index does not have, or not so.
  [[nodiscard]] bool HasChildren(std::uint64_t directory) const;

  // A listing begins: what is put before this is settled by it.
  [[nodiscard]] std::uint64_t Mark() const;
  // The snapshot `generation` comes from the listing that began at `mark`: from it on the index is
  // right about what was put before. `has_directory` tells whether the index has that id.
  template <typename F>
  void Settle(std::uint64_t mark, std::uint64_t generation, F&& has_directory) {
    state_.With([&](State& state) {
      for (auto at = state.entries.begin(); at != state.entries.end();) {
        Held& held = at->second;
        const NewKind kind = held.entry.kind;
        const bool settled =
            kind != NewKind::kWriting && held.number <= mark &&
            (kind != NewKind::kDirectory || has_directory(held.entry.attributes.id));
        // Once more round for those who read a directory of the snapshot before.
        const bool gone = settled && held.settled != 0;
        if (settled && held.settled == 0) held.settled = generation;
        at = gone ? state.entries.erase(at) : std::next(at);
      }
    });
  }

 private:
  struct Held {
    NewEntry entry;
    std::uint64_t number = 0;
    std::uint64_t settled = 0;  // the first snapshot that knows better; 0: none yet
  };
  using Key = std::pair<std::uint64_t, std::string>;  // directory and name
  struct State {
    std::map<Key, Held> entries;
    std::uint64_t last_number = 0;
  };

  platform::Guarded<State> state_;
};

}  // namespace sluice::fuse_client
