#include "hedge_policy.h"

#include <algorithm>

namespace sluice::origin {
namespace {

// Sorting the samples for every answer would be a waste.
constexpr std::size_t kLearnEvery = 8;

}  // namespace

HedgePolicy::HedgePolicy(const HedgeOptions& options)
    : options_(options), budget_(options.burst), calm_until_(Time::min()) {}

void HedgePolicy::OnRequest() { budget_ = std::min(budget_ + options_.share, options_.burst); }

void HedgePolicy::OnFirstByte(Duration after) {
  if (samples_.size() < options_.most_samples) {
    samples_.push_back(after);
  } else {
    samples_[next_] = after;
    next_ = (next_ + 1) % options_.most_samples;
  }
  if (samples_.size() < options_.least_samples) return;
  if (++fresh_ >= kLearnEvery || !threshold_) Learn();
}

void HedgePolicy::Learn() {
  fresh_ = 0;
  std::vector<Duration> sorted = samples_;
  std::ranges::sort(sorted);
  const auto at = [&](double quantile) {
    const auto rank = static_cast<std::size_t>(quantile * static_cast<double>(sorted.size()));
    return sorted[std::min(rank, sorted.size() - 1)];
  };
  const auto long_for_most =
      std::chrono::duration_cast<Duration>(at(0.5) * options_.times_the_median);
  threshold_ = std::max({Duration(options_.floor), at(options_.quantile), long_for_most});
}

std::optional<HedgePolicy::Duration> HedgePolicy::Threshold(Time now) const {
  return now < calm_until_ ? std::nullopt : threshold_;
}

bool HedgePolicy::Take(Time now) {
  if (now < calm_until_ || budget_ < 1) return false;
  budget_ -= 1;
  return true;
}

}  // namespace sluice::origin
