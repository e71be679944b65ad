// Which of so many workers has a place on a circle: everyone the same share of it, in a few
// intervals each. With one worker more, everyone gives up an equal part to it, and nothing else
// changes hands.
//
// What lies in sequence is put on the circle in steps of the golden ratio, so that it meets every
// interval in its turn: where rendezvous hashing gives eight workers 0.84 of the evenness that the
// chunks of a file of 2 GiB could have, this gives 0.97, and any sixteen chunks in a row lie on
// nearly all of them.
//
// Every client of a dataset must come to the same, older and newer builds too: all of this is part
// of the format of the pool and never changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice::pool {

// Places are below this.
inline constexpr std::uint64_t kCircle = std::uint64_t{1} << 63;

class Stripes {
 public:
  // At least one worker. Takes time and memory by the square of the number.
  explicit Stripes(std::size_t workers);

  [[nodiscard]] std::size_t OwnerOf(std::uint64_t place) const;

 private:
  struct Owned {
    std::uint64_t begin = 0;
    std::size_t owner = 0;
  };
  std::vector<Owned> owned_;  // from 0 on, each up to the next one
};

// Where a key of the pool lies: "<group><number in hexadecimal>", numbers of a group in steps of
// the golden ratio from a place that the group's hash gives.
std::uint64_t PlaceOf(std::string_view key);

}  // namespace sluice::pool
