#include "unique.h"

#include <fmt/format.h>

namespace sluice::injection {

std::string UniqueNames::HostDirectory(std::string_view pod) {
  return fmt::format("{}/{}-{:08x}", pod, unix_micros_, Next() >> 32);
}

std::string UniqueNames::Token() {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string token;
  for (std::uint64_t bits = Next(); token.size() < 3; bits /= kAlphabet.size()) {
    token += kAlphabet[bits % kAlphabet.size()];
  }
  return token;
}

// splitmix64: good enough for names, and the same on every machine.
std::uint64_t UniqueNames::Next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

}  // namespace sluice::injection
