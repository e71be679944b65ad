#include "open_table.h"

#include <atomic>

namespace sluice::fuse_client {
namespace {

constexpr std::uint64_t kDone = ~0ULL;
constexpr unsigned kRowShift = 32;

// That the row is about to have so many opens; never 0.
std::uint64_t Intent(std::uint32_t row, std::uint32_t opens) {
  return (static_cast<std::uint64_t>(row) + 1) << kRowShift | opens;
}

// Changes of an entry come one after another, so at most one intent of each row is undecided, and
// nothing has happened to the row since: it was carried out exactly when the row has its count.
bool CarriedOut(std::uint64_t intent, std::span<const OpenEntry> used) {
  const std::uint64_t row = (intent >> kRowShift) - 1;
  return row < used.size() && used[row].opens == static_cast<std::uint32_t>(intent);
}

}  // namespace

bool RequestEffect::Done() const {
  return word_ != nullptr && std::atomic_ref(*word_).load(std::memory_order_acquire) == kDone;
}

void RequestEffect::Store(std::uint64_t value) const {
  if (word_ != nullptr) std::atomic_ref(*word_).store(value, std::memory_order_release);
}

OpenTable::OpenTable(StateFile& state) : state_(state) {
  const auto entries = state_.Opens();
  const auto used = entries.first(state_.Header().opens_used);
  for (std::uint64_t& word : state_.Header().effects) {
    if (word != 0 && word != kDone) word = CarriedOut(word, used) ? kDone : 0;
  }
  free_.With([&](auto& free) {
    for (std::uint32_t row = 0; row < state_.Header().opens_used; ++row) {
      if (entries[row].opens == 0) free.push_back(row);
    }
  });
}

std::vector<OpenTable::Row> OpenTable::Load() const {
  std::vector<Row> rows;
  const auto entries = state_.Opens();
  for (std::uint32_t row = 0; row < state_.Header().opens_used; ++row) {
    if (entries[row].opens != 0) rows.push_back({row, entries[row]});
  }
  return rows;
}

Result<std::uint32_t> OpenTable::Acquire() {
  return free_.With([&](auto& free) -> Result<std::uint32_t> {
    if (!free.empty()) {
      const std::uint32_t row = free.back();
      free.pop_back();
      return row;
    }
    std::uint32_t& used = state_.Header().opens_used;
    if (used == kMaxOpenInodes) {
      return Fail(Code::kUnavailable, "too many files are open at once");
    }
    return used++;
  });
}

void OpenTable::SetOpens(std::uint32_t row, std::uint32_t opens, RequestEffect effect) {
  // Taking an open back passes the same middle state, from its other end.
  effect.Store(Intent(row, effect.undo_ ? opens + 1 : opens));
  std::atomic_ref(state_.Opens()[row].opens).store(opens, std::memory_order_release);
  effect.Store(effect.undo_ ? 0 : kDone);
}

void OpenTable::Set(std::uint32_t row, const OpenEntry& entry, RequestEffect effect) {
  OpenEntry& target = state_.Opens()[row];
  // `opens` last: a reader after a kill takes a row with opens == 0 for free.
  target.id = entry.id;
  target.backing_id = entry.backing_id;
  SetOpens(row, entry.opens, effect);
}

void OpenTable::Free(std::uint32_t row, RequestEffect effect) {
  SetOpens(row, 0, effect);
  free_.With([&](auto& free) { free.push_back(row); });
}

}  // namespace sluice::fuse_client
