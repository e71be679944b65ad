#include "siphash.h"

#include <array>
#include <bit>
#include <cstring>

namespace sluice::fuse_client {
namespace {

// The key of the algorithm's published test vectors: bytes 00 01 … 0f.
constexpr std::uint64_t kKey0 = 0x0706050403020100U;
constexpr std::uint64_t kKey1 = 0x0f0e0d0c0b0a0908U;

using Lanes = std::array<std::uint64_t, 4>;

void Round(Lanes& v) {
  v[0] += v[1];
  v[1] = std::rotl(v[1], 13) ^ v[0];
  v[0] = std::rotl(v[0], 32);
  v[2] += v[3];
  v[3] = std::rotl(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = std::rotl(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = std::rotl(v[1], 17) ^ v[2];
  v[2] = std::rotl(v[2], 32);
}

void Compress(Lanes& v, std::uint64_t word) {
  v[3] ^= word;
  Round(v);
  Round(v);
  v[0] ^= word;
}

}  // namespace

std::uint64_t SipHash(std::string_view bytes) {
  Lanes v = {kKey0 ^ 0x736f6d6570736575U, kKey1 ^ 0x646f72616e646f6dU, kKey0 ^ 0x6c7967656e657261U,
             kKey1 ^ 0x7465646279746573U};
  std::string_view rest = bytes;
  for (; rest.size() >= 8; rest.remove_prefix(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, rest.data(), 8);
    Compress(v, word);
  }
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    last |= std::uint64_t{static_cast<unsigned char>(rest[i])} << (8 * i);
  }
  Compress(v, last);
  v[2] ^= 0xff;
  for (int i = 0; i < 4; ++i) Round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

}  // namespace sluice::fuse_client
