#include "directory_order.h"

#include <algorithm>

namespace sluice::fuse_client {
namespace {

constexpr std::size_t kMostWalks = 16;
// A place so close to where a walk stands belongs to it.
constexpr std::uint32_t kTolerance = 8;
// Fewer steps in order happen by chance.
constexpr std::uint32_t kStepsToTrust = 3;
constexpr std::uint32_t kFirstWindow = 4;

}  // namespace

DirectoryOrder::Walk* DirectoryOrder::Match(std::uint64_t directory, std::uint32_t place) {
  const auto found = std::find_if(walks_.begin(), walks_.end(), [&](const Walk& walk) {
    return walk.directory == directory && place + kTolerance >= walk.next &&
           place <= walk.next + kTolerance;
  });
  if (found == walks_.end()) return nullptr;
  std::rotate(walks_.begin(), found, found + 1);
  return &walks_.front();
}

DirectoryOrder::Children DirectoryOrder::OnOpen(std::uint64_t directory, std::uint32_t place,
                                                std::uint32_t count) {
  Walk* walk = Match(directory, place);
  if (walk == nullptr) {
    if (walks_.size() == kMostWalks) walks_.pop_back();
    walks_.insert(walks_.begin(), {.directory = directory, .next = place + 1, .steps = 1});
    return {};
  }
  if (place < walk->next) return {};  // one that was passed over, or seen before
  walk->next = place + 1;
  if (++walk->steps < kStepsToTrust) return {};
  walk->window = std::min(std::max(walk->window * 2, kFirstWindow), most_ahead_);
  const std::uint32_t begin = std::max(walk->issued, walk->next);
  const std::uint32_t end = std::min(count, walk->next + walk->window);
  if (begin >= end) return {};
  walk->issued = end;
  return {begin, end};
}

void DirectoryOrder::GiveBack(std::uint64_t directory, std::uint32_t place) {
  for (Walk& walk : walks_) {
    const bool took = walk.directory == directory && place >= walk.next && place < walk.issued;
    if (took) walk.issued = place;
  }
}

}  // namespace sluice::fuse_client
