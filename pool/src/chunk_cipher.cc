#include "chunk_cipher.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "sluice/platform/openssl.h"
#include "sluice/platform/read_file.h"

namespace sluice::pool {
namespace {

using CipherContextPtr = platform::OpenSslPtr<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;

constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kIdBytes = 8;
constexpr std::size_t kLongestKeyFile = 16U << 10;
// Keys of other uses of the same bytes are not told from the id.
constexpr std::string_view kIdPurpose = "sluice pool key id";

unsigned char* Raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* Raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
const unsigned char* Raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// One value on its way through the cipher, to or from the clear.
class Passage {
 public:
  enum class Way { kDecrypt = 0, kEncrypt = 1 };
  Passage(Way way, const ChunkCipher::Key& key, const std::byte* nonce, std::string_view name)
      : context_(EVP_CIPHER_CTX_new()) {
    int ignored = 0;
    good_ = context_ != nullptr &&
            EVP_CipherInit_ex2(context_.get(), EVP_aes_256_gcm(), key.data(), Raw(nonce),
                               static_cast<int>(way), nullptr) == 1 &&
            EVP_CipherUpdate(context_.get(), nullptr, &ignored, Raw(name),
                             static_cast<int>(name.size())) == 1;
  }
  void Take(std::span<const std::byte> from, std::byte* into) {
    int length = 0;
    good_ = good_ && EVP_CipherUpdate(context_.get(), Raw(into), &length, Raw(from.data()),
                                      static_cast<int>(from.size())) == 1;
  }
  // Makes the tag.
  bool Seal(std::byte* tag) {
    good_ = good_ && End() &&
            EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag) == 1;
    ERR_clear_error();
    return good_;
  }
  // Whether the tag is right.
  bool Check(std::byte* tag) {
    good_ = good_ &&
            EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) == 1 &&
            End();
    ERR_clear_error();
    return good_;
  }

 private:
  bool End() {
    std::array<unsigned char, EVP_MAX_BLOCK_LENGTH> nothing{};
    int length = 0;
    return EVP_CipherFinal_ex(context_.get(), nothing.data(), &length) == 1;
  }

  CipherContextPtr context_;
  bool good_ = false;
};

std::string IdOf(const ChunkCipher::Key& key) {
  std::array<unsigned char, kIdPurpose.size() + ChunkCipher::kKeyBytes> text{};
  std::copy(key.begin(), key.end(), std::copy(kIdPurpose.begin(), kIdPurpose.end(), text.begin()));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
  OPENSSL_cleanse(text.data(), text.size());
  return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + kIdBytes, ""));
}

}  // namespace

ChunkCipher::ChunkCipher(const Key& key) : key_(key), id_(IdOf(key)) {}
ChunkCipher::~ChunkCipher() { OPENSSL_cleanse(key_.data(), key_.size()); }

Status ChunkCipher::Seal(std::string_view name, std::span<const std::byte> value,
                         std::uint32_t checksum, std::span<std::byte> into) const {
  std::byte* const nonce = into.data() + value.size() + kChecksumBytes;
  if (RAND_bytes(Raw(nonce), kNonceBytes) != 1) {
    ERR_clear_error();
    return Fail(Code::kInternal, "the machine gives no randomness (OpenSSL RAND_bytes)");
  }
  std::array<std::byte, kChecksumBytes> sum{};
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = static_cast<std::byte>(checksum >> 8 * i);
  Passage passage(Passage::Way::kEncrypt, key_, nonce, name);
  passage.Take(value, into.data());
  passage.Take(sum, into.data() + value.size());
  if (passage.Seal(nonce + kNonceBytes)) return Ok();
  return Fail(Code::kInternal, "encrypt a chunk: OpenSSL failed");
}

std::optional<std::uint32_t> ChunkCipher::Open(std::string_view name,
                                               std::span<std::byte> sealed) const {
  if (sealed.size() < kOverhead) return {};
  const std::size_t size = sealed.size() - kOverhead;
  std::byte* const nonce = sealed.data() + size + kChecksumBytes;
  Passage passage(Passage::Way::kDecrypt, key_, nonce, name);
  passage.Take(sealed.first(size + kChecksumBytes), sealed.data());
  if (!passage.Check(nonce + kNonceBytes)) return {};
  std::uint32_t checksum = 0;
  for (std::size_t i = 0; i < kChecksumBytes; ++i) {
    checksum |= std::to_integer<std::uint32_t>(sealed[size + i]) << 8 * i;
  }
  return checksum;
}

Result<ChunkCipher::Key> ReadChunkKey(const std::string& path) {
  auto text = platform::ReadFile(path, kLongestKeyFile);
  if (!text) {
    return Fail(Code::kPermissionDenied, fmt::format("key of the pool: {}", text.error().message));
  }
  std::string line = text->substr(0, text->find_first_of("\r\n"));
  ChunkCipher::Key key{};
  bool good = line.size() == 2 * key.size();
  for (std::size_t i = 0; good && i < key.size(); ++i) {
    const char* const end = line.data() + 2 * i + 2;
    const auto [last, error] = std::from_chars(end - 2, end, key[i], 16);
    good = error == std::errc() && last == end;
  }
  OPENSSL_cleanse(line.data(), line.size());
  OPENSSL_cleanse(text->data(), text->size());
  if (good) return key;
  return Fail(Code::kPermissionDenied,
              fmt::format("key of the pool: the first line of {} must be 64 hexadecimal digits, as "
                          "`openssl rand -hex 32` writes them",
                          path));
}

}  // namespace sluice::pool
