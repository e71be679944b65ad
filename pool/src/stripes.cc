#include "stripes.h"

#include <algorithm>
#include <charconv>

#include "rendezvous.h"

namespace sluice::pool {
namespace {

// 2^64 / golden ratio, odd.
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;
constexpr std::size_t kMostDigits = 16;

struct Interval {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
using Share = std::vector<Interval>;  // what is given up first last

// Small intervals are given up first, so that a share stays in few of them.
Share TakeFrom(std::vector<Share>& shares, std::uint64_t of_each) {
  Share taken;
  for (Share& share : shares) {
    for (std::uint64_t left = of_each; left > 0;) {
      Interval& last = share.back();
      const std::uint64_t size = std::min(left, last.end - last.begin);
      taken.push_back({last.end - size, last.end});
      left -= size;
      last.end -= size;
      if (last.begin == last.end) share.pop_back();
    }
  }
  std::ranges::sort(taken, {}, &Interval::begin);
  Share joined;
  for (const Interval& interval : taken) {
    if (!joined.empty() && joined.back().end == interval.begin) {
      joined.back().end = interval.end;
    } else {
      joined.push_back(interval);
    }
  }
  std::ranges::stable_sort(joined, std::ranges::greater{},
                           [](const Interval& i) { return i.end - i.begin; });
  return joined;
}

}  // namespace

Stripes::Stripes(std::size_t workers) {
  std::vector<Share> shares = {{{0, kCircle}}};
  for (std::size_t n = 1; n < workers; ++n) {
    shares.push_back(TakeFrom(shares, kCircle / n - kCircle / (n + 1)));
  }
  for (std::size_t worker = 0; worker < shares.size(); ++worker) {
    for (const Interval& interval : shares[worker]) owned_.push_back({interval.begin, worker});
  }
  std::ranges::sort(owned_, {}, &Owned::begin);
}

std::size_t Stripes::OwnerOf(std::uint64_t place) const {
  const auto after = std::ranges::upper_bound(owned_, place, {}, &Owned::begin);
  return std::prev(after)->owner;
}

std::uint64_t PlaceOf(std::string_view key) {
  const std::size_t group = key.find_last_not_of("0123456789abcdef") + 1;
  const std::size_t digits = key.size() - group;
  if (group == 0 || digits == 0 || digits > kMostDigits) return Rendezvous::Hash(key) / 2;
  std::uint64_t number = 0;
  std::from_chars(key.data() + group, key.data() + key.size(), number, 16);
  return (Rendezvous::Hash(key.substr(0, group)) + number * kStep) / 2;
}

}  // namespace sluice::pool
