#include "open_table.h"

#include <atomic>

namespace sluice::fuse_client {

OpenTable::OpenTable(StateFile& state) : state_(state) {
  const auto entries = state_.Opens();
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

void OpenTable::Set(std::uint32_t row, const OpenEntry& entry) {
  OpenEntry& target = state_.Opens()[row];
  // `opens` last: a reader after a kill takes a row with opens == 0 for free.
  target.id = entry.id;
  target.backing_id = entry.backing_id;
  std::atomic_ref(target.opens).store(entry.opens, std::memory_order_release);
}

void OpenTable::Free(std::uint32_t row) {
  Set(row, {});
  free_.With([&](auto& free) { free.push_back(row); });
}

}  // namespace sluice::fuse_client
