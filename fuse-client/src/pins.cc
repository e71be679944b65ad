#include "pins.h"

#include <algorithm>
#include <utility>

#include "sluice/core/path_pattern.h"

#include "index_object.h"

namespace sluice::fuse_client {
namespace {

struct Directory {
  std::uint32_t node = 0;
  std::vector<PathPattern::State> states;  // by pattern
};

}  // namespace

cache::PinSet PinnedObjects(const Index& index, const std::vector<MountSource>& mounts,
                            const std::vector<std::string>& paths) {
  cache::PinSet pinned;
  if (paths.empty()) return pinned;
  std::vector<PathPattern> patterns;
  Directory root;
  for (const std::string& path : paths) {
    auto pattern = PathPattern::Parse(path);
    if (!pattern) continue;
    root.states.push_back(pattern->Start());
    patterns.push_back(std::move(*pattern));
  }
  std::vector<std::string> identities;
  for (const MountSource& mount : mounts) identities.push_back(mount.source->Identity());

  std::vector<Directory> pending = {std::move(root)};
  while (!pending.empty()) {
    const Directory directory = std::move(pending.back());
    pending.pop_back();
    const IndexNode& parent = index.Node(directory.node);
    for (std::uint32_t i = 0; i < parent.child_count; ++i) {
      const std::uint32_t child = parent.first_child + i;
      Directory next{child, directory.states};
      bool meant = false;
      for (std::size_t p = 0; p < patterns.size(); ++p) {
        next.states[p] = patterns[p].Step(next.states[p], index.Name(child));
        meant = meant || patterns[p].Matches(next.states[p]);
      }
      const IndexNode& node = index.Node(child);
      if (node.is_directory != 0) {
        if (!std::ranges::all_of(next.states, PathPattern::IsOver)) {
          pending.push_back(std::move(next));
        }
      } else if (meant && node.is_link == 0 && node.mount < mounts.size()) {
        pinned.Add(identities[node.mount], ObjectAt(index, child, mounts[node.mount].path));
      }
    }
  }
  return pinned;
}

}  // namespace sluice::fuse_client
