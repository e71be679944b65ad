#include "crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace sluice::cache {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78U;  // reflected
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? kPolynomial : 0);
    tables[0][i] = crc;
  }
  for (std::size_t t = 1; t < tables.size(); ++t) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t before = tables[t - 1][i];
      tables[t][i] = (before >> 8) ^ tables[0][before & 0xffU];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

std::uint64_t LoadWord(const std::byte* from) {
  std::uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t Crc32cHardware(std::span<const std::byte> data,
                                                               std::uint32_t crc) {
  std::uint64_t state = ~crc;
  while (data.size() >= sizeof(std::uint64_t)) {
    state = _mm_crc32_u64(state, LoadWord(data.data()));
    data = data.subspan(sizeof(std::uint64_t));
  }
  auto tail = static_cast<std::uint32_t>(state);
  for (const std::byte b : data) tail = _mm_crc32_u8(tail, static_cast<std::uint8_t>(b));
  return ~tail;
}
#endif

}  // namespace

std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t crc) {
  std::uint32_t state = ~crc;
  while (data.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word = LoadWord(data.data()) ^ state;  // little endian, as all our targets
    state = 0;
    for (std::size_t t = kTables.size(); t-- > 0; word >>= 8) state ^= kTables[t][word & 0xffU];
    data = data.subspan(sizeof(std::uint64_t));
  }
  for (const std::byte b : data) {
    state = (state >> 8) ^ kTables[0][(state ^ static_cast<std::uint32_t>(b)) & 0xffU];
  }
  return ~state;
}

std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t crc) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return Crc32cHardware(data, crc);
#endif
  return Crc32cPortable(data, crc);
}

}  // namespace sluice::cache
