#include "faults.h"

#include <algorithm>
#include <stdexcept>

namespace sluice::reading_model {
namespace {

constexpr std::array<std::string_view, kFaultCount> kNames = {
    "origin refuses",     "origin breaks off", "origin ends short",      "origin gives more",
    "origin forbids",     "origin is slow",    "origin is down",         "origin hangs",
    "object replaced",    "object deleted",    "object restored",        "object rolled back",
    "pool get fails",     "pool put fails",    "pool renew fails",       "pool misses",
    "pool loses value",   "pool spoils value", "pool spoils checksum",   "pool scribbles",
    "pool forgets put",   "pool forgets drop", "pool other client dies", "pool keeps waiting",
    "pool is slow",       "pool is down",      "disk read fails",        "disk reads short",
    "disk write fails",   "disk is full",      "disk write tears",       "disk writes short",
    "disk write lies",    "disk open fails",   "disk rename fails",      "disk resize fails",
    "disk protect fails", "file flipped",      "file truncated",         "file zeroed",
    "file garbage",       "file removed",      "files exchanged",        "file beside itself",
    "directory lost",     "directory blocked",
};

}  // namespace

std::string_view NameOf(Fault fault) { return kNames[static_cast<std::size_t>(fault)]; }

std::uint64_t Mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

Faults::Faults(std::uint64_t seed, std::span<const std::string> without) : seed_(seed) {
  for (const std::string& name : without) {
    const auto found = std::ranges::find(kNames, name);
    if (found == kNames.end())
      throw std::invalid_argument("SLUICE_READING_WITHOUT: no fault is named '" + name +
                                  "'; the table at the end has the names");
    entries_[static_cast<std::size_t>(found - kNames.begin())].excluded = true;
  }
}

void Faults::Set(Fault fault, std::uint64_t every) { Of(fault).every = every; }

void Faults::ClearAll() {
  for (Entry& entry : entries_) entry.every = 0;
}

bool Faults::Happens(Fault fault) {
  Entry& entry = Of(fault);
  const std::uint64_t every = entry.every;
  if (every == 0) return false;
  const std::uint64_t kind = static_cast<std::uint64_t>(fault) << 56U;
  return Mix(seed_ ^ kind ^ entry.chances++) % every == 0 && Make(fault);
}

bool Faults::Make(Fault fault) {
  Entry& entry = Of(fault);
  if (!entry.excluded) ++entry.count;
  return !entry.excluded;
}

std::uint64_t Faults::Draw(std::uint64_t bound) {
  constexpr std::uint64_t kDraws = 0xffULL << 56U;
  return Mix(seed_ ^ kDraws ^ draws_++) % bound;
}

std::uint64_t Faults::Count(Fault fault) const {
  return entries_[static_cast<std::size_t>(fault)].count;
}

}  // namespace sluice::reading_model
