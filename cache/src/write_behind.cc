#include "write_behind.h"

#include <algorithm>
#include <utility>

#include "sluice/cache/reader.h"

namespace sluice::cache {
namespace {

// Write-back begins each time so much was written: enough for the disk to work on.
constexpr std::uint64_t kStep = 8ULL << 20;
// At least so much may be unsynced, however little memory there is.
constexpr std::uint64_t kLeast = 16ULL << 20;
constexpr std::size_t kMostFiles = 32;

}  // namespace

std::uint64_t UnsyncedBytesUnder(std::uint64_t memory_limit, std::uint64_t memory_budget) {
  const std::uint64_t room = memory_limit > memory_budget ? memory_limit - memory_budget : 0;
  return std::max(kLeast, room / 2);
}

WriteBehind::WriteBehind(std::uint64_t most) : most_(most), step_(std::min(kStep, most / 2)) {}

bool WriteBehind::OnWritten(const std::string& name, File file, std::uint64_t bytes) {
  if (most_ == 0) return false;
  auto item = std::ranges::find(items_, name, &Item::name);
  if (item == items_.end()) {
    items_.push_back({name, nullptr, 0, 0});
    item = std::prev(items_.end());
  }
  item->file = std::move(file);
  item->unsynced += bytes;
  item->fresh += bytes;
  unsynced_ += bytes;
  if (item->fresh < step_) return false;
  item->fresh = 0;
  return true;
}

WriteBehind::File WriteBehind::TakeOverdue() {
  if (most_ == 0 || items_.empty()) return nullptr;
  if (unsynced_ > most_) return Take(std::ranges::max_element(items_, {}, &Item::unsynced));
  if (items_.size() > kMostFiles) return Take(items_.begin());
  return nullptr;
}

void WriteBehind::Forget(const std::string& name) {
  const auto item = std::ranges::find(items_, name, &Item::name);
  if (item != items_.end()) Take(item);
}

WriteBehind::File WriteBehind::Take(Items::iterator item) {
  File file = std::move(item->file);
  unsynced_ -= item->unsynced;
  items_.erase(item);
  return file;
}

}  // namespace sluice::cache
