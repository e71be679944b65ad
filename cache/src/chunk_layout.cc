#include "chunk_layout.h"

#include <array>
#include <string_view>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace sluice::cache {
namespace {

constexpr std::size_t kKeyBits = 128;
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// Each text with its length before it, so that no two lists of texts look alike.
std::string Framed(const ChunkOwner& owner) {
  std::string framed;
  for (const std::string* text :
       {&owner.dataset_uid, &owner.identity, &owner.path, &owner.version}) {
    framed += fmt::format("{}:{}", text->size(), *text);
  }
  return framed + fmt::format("{}/{}", owner.size, ChunkBytes(owner.size));
}

}  // namespace

std::string ChunkKeyBase(const ChunkOwner& owner) {
  const std::string framed = Framed(owner);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(framed.data(), framed.size(), digest.data(), &length, EVP_sha256(), nullptr);
  std::string base;
  for (std::size_t bit = 0; bit < kKeyBits; bit += 6) {
    // Six bits from two bytes; what lies behind the last bit of the key counts as zero.
    const unsigned next = bit / 8 + 1 < kKeyBits / 8 ? digest[bit / 8 + 1] : 0U;
    const unsigned two = static_cast<unsigned>(digest[bit / 8]) << 8U | next;
    base += kBase64Url[(two >> (10U - bit % 8)) & 63U];
  }
  return base;
}

std::string ChunkKey(const std::string& base, std::uint64_t chunk) {
  return fmt::format("{}:{:x}", base, chunk);
}

std::string PieceKey(const std::string& base, std::uint64_t piece) {
  return fmt::format("{}:{}k{:x}", base, kBlockBytes >> 10U, piece);
}

}  // namespace sluice::cache
