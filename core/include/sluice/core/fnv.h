// FNV-1a, 64 bits: a hash that is the same on every machine and in every version, for names and
// places that must not change. Not for what an enemy may choose.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

constexpr std::uint64_t Fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace sluice
