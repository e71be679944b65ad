// Names that nobody else has, from the numbers given with the request.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::injection {

// The same seed and time give the same sequence.
class UniqueNames {
 public:
  UniqueNames(std::int64_t unix_micros, std::uint64_t seed)
      : unix_micros_(unix_micros), state_(seed) {}

  // `<pod>/<unix microseconds>-<8 hex digits>`: a host directory of one pod.
  std::string HostDirectory(std::string_view pod);
  // Three of [a-z0-9].
  std::string Token();

 private:
  std::uint64_t Next();

  std::int64_t unix_micros_;
  std::uint64_t state_;
};

}  // namespace sluice::injection
