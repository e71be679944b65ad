// When a client that died is started again, and when not any more.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace sluice::cli {

// At once the first time, then after growing pauses; never after `kMaxShortLives` lives in a row
// that were shorter than `kShortLife`. A client that is killed now and then is always replaced, one
// that cannot live is given up. (The client gives up a request that kills it after ten lives.)
class RestartPolicy {
 public:
  static constexpr unsigned kMaxShortLives = 15;
  static constexpr std::chrono::seconds kShortLife{2};

  // The pause before the next start; nothing: give up.
  std::optional<std::chrono::milliseconds> OnDeath(std::chrono::steady_clock::duration lived) {
    short_lives_ = lived < kShortLife ? short_lives_ + 1 : 1;
    if (short_lives_ >= kMaxShortLives) return std::nullopt;
    if (short_lives_ == 1) return std::chrono::milliseconds(0);
    return std::min(std::chrono::milliseconds(25) * (1 << (short_lives_ - 2)),
                    std::chrono::milliseconds(1000));
  }

 private:
  unsigned short_lives_ = 0;
};

}  // namespace sluice::cli
