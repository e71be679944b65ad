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
// The instruction takes three cycles and one may start in each, so three lanes of neighbouring
// bytes go side by side; what a lane gives is then moved past the bytes of the next. Lanes within
// one page would confuse the processor's prefetching: slower than one lane when memory is cold.
constexpr std::size_t kLane = 8192;
using MoveTables = std::array<std::array<std::uint32_t, 256>, 4>;

// What becomes of a state after kLane zero bytes; linear, so one table for each byte of the state.
constexpr MoveTables MakeMoveTables() {
  std::array<std::uint32_t, 32> of_bit{};
  for (unsigned bit = 0; bit < of_bit.size(); ++bit) {
    std::uint32_t state = 1U << bit;
    for (std::size_t i = 0; i < kLane; ++i) state = (state >> 8) ^ kTables[0][state & 0xffU];
    of_bit[bit] = state;
  }
  MoveTables tables{};
  for (unsigned byte = 0; byte < tables.size(); ++byte) {
    for (std::uint32_t value = 0; value < tables[byte].size(); ++value) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        if ((value >> bit & 1U) != 0) tables[byte][value] ^= of_bit[8 * byte + bit];
      }
    }
  }
  return tables;
}

constexpr MoveTables kMove = MakeMoveTables();

std::uint64_t MovePastLane(std::uint64_t state) {
  return kMove[0][state & 0xffU] ^ kMove[1][state >> 8 & 0xffU] ^ kMove[2][state >> 16 & 0xffU] ^
         kMove[3][state >> 24 & 0xffU];
}

__attribute__((target("sse4.2"))) std::uint32_t Crc32cHardware(std::span<const std::byte> data,
                                                               std::uint32_t crc) {
  std::uint64_t state = ~crc;
  for (; data.size() >= 3 * kLane; data = data.subspan(3 * kLane)) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kLane; i += sizeof(std::uint64_t)) {
      state = _mm_crc32_u64(state, LoadWord(data.data() + i));
      second = _mm_crc32_u64(second, LoadWord(data.data() + kLane + i));
      third = _mm_crc32_u64(third, LoadWord(data.data() + 2 * kLane + i));
    }
    state = MovePastLane(MovePastLane(state) ^ second) ^ third;
  }
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
