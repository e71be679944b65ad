#include "rendezvous.h"

#include <algorithm>
#include <numeric>

#include "sluice/core/fnv.h"

namespace sluice::pool {
namespace {

// MurmurHash3's finaliser: every bit of the input changes about half of the output's.
std::uint64_t Mix(std::uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccdULL;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53ULL;
  value ^= value >> 33;
  return value;
}

}  // namespace

// Mixed, since by itself the upper bits are poor for short texts.
std::uint64_t Rendezvous::Hash(std::string_view text) { return Mix(Fnv1a(text)); }

Rendezvous::Rendezvous(const std::vector<std::string>& names) {
  hashes_.reserve(names.size());
  for (const std::string& name : names) hashes_.push_back(Hash(name));
}

std::uint64_t Rendezvous::Score(std::uint64_t key, std::size_t index) const {
  return Mix(key + hashes_[index]);
}

std::size_t Rendezvous::First(std::string_view key) const {
  const std::uint64_t hash = Hash(key);
  std::size_t best = 0;
  std::uint64_t best_score = Score(hash, 0);
  for (std::size_t i = 1; i < hashes_.size(); ++i) {
    const std::uint64_t score = Score(hash, i);
    // Between equal scores the smaller hash of a name decides, not the place in the list.
    if (score < best_score) continue;
    if (score == best_score && hashes_[i] >= hashes_[best]) continue;
    best = i;
    best_score = score;
  }
  return best;
}

std::vector<std::size_t> Rendezvous::Order(std::string_view key) const {
  const std::uint64_t hash = Hash(key);
  std::vector<std::size_t> order(hashes_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::uint64_t score_a = Score(hash, a);
    const std::uint64_t score_b = Score(hash, b);
    return score_a != score_b ? score_a > score_b : hashes_[a] < hashes_[b];
  });
  return order;
}

}  // namespace sluice::pool
