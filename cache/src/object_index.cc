#include "object_index.h"

#include <array>
#include <cstring>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "crc32c.h"
#include "geometry.h"

namespace sluice::cache {
namespace {

constexpr std::array<char, 8> kMagic = {'S', 'L', 'U', 'I', 'C', 'E', 'C', '1'};
constexpr std::size_t kPrefixBytes = kMagic.size() + 4;  // magic, length of the rest
constexpr std::size_t kRecordBytes = 12;                 // block, crc, crc of the record
constexpr std::size_t kNameBytes = 20;

template <typename T>
void Put(ByteBuffer& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    to.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void PutString(ByteBuffer& to, const std::string& text) {
  Put(to, static_cast<std::uint32_t>(text.size()));
  for (const char c : text) to.push_back(static_cast<std::byte>(c));
}

// Takes values from the front of a span; everything after a failure is zero or empty.
class Taker {
 public:
  explicit Taker(std::span<const std::byte> from) : from_(from) {}

  template <typename T>
  T Take() {
    T value = 0;
    const auto bytes = TakeBytes(sizeof(T));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      value |= static_cast<T>(static_cast<T>(bytes[i]) << (8 * i));
    }
    return value;
  }
  std::string TakeString() {
    const auto bytes = TakeBytes(Take<std::uint32_t>());
    std::string text(bytes.size(), '\0');
    if (!bytes.empty()) std::memcpy(text.data(), bytes.data(), bytes.size());
    return text;
  }
  [[nodiscard]] bool Good() const { return good_; }

 private:
  std::span<const std::byte> TakeBytes(std::size_t n) {
    if (n > from_.size()) good_ = false;
    if (!good_) return {};
    const auto taken = from_.first(n);
    from_ = from_.subspan(n);
    return taken;
  }

  std::span<const std::byte> from_;
  bool good_ = true;
};

ByteBuffer EncodeKey(const CacheKey& key) {
  ByteBuffer out;
  Put(out, static_cast<std::uint32_t>(kBlockBytes));
  Put(out, key.size);
  PutString(out, key.identity);
  PutString(out, key.path);
  PutString(out, key.version);
  return out;
}

std::uint32_t RecordCrc(std::uint32_t key_crc, std::span<const std::byte> block_and_crc) {
  return Crc32c(block_and_crc, key_crc);
}

}  // namespace

std::string CacheFileName(const CacheKey& key) {
  const ByteBuffer bytes = EncodeKey(key);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  std::string name;
  for (std::size_t i = 0; i < kNameBytes; ++i) name += fmt::format("{:02x}", digest[i]);
  return name;
}

ByteBuffer EncodeIndexHeader(const CacheKey& key) {
  ByteBuffer out;
  for (const char c : kMagic) out.push_back(static_cast<std::byte>(c));
  const ByteBuffer rest = EncodeKey(key);
  Put(out, static_cast<std::uint32_t>(rest.size()));
  out.insert(out.end(), rest.begin(), rest.end());
  Put(out, Crc32c(rest));
  return out;
}

ByteBuffer EncodeRecord(const CacheKey& key, const BlockRecord& record) {
  ByteBuffer out;
  Put(out, record.block);
  Put(out, record.crc);
  Put(out, RecordCrc(Crc32c(EncodeKey(key)), out));
  return out;
}

std::optional<ObjectIndex> DecodeIndex(std::span<const std::byte> bytes) {
  if (bytes.size() < kPrefixBytes) return std::nullopt;
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  const auto length = Taker(bytes.subspan(kMagic.size())).Take<std::uint32_t>();
  bytes = bytes.subspan(kPrefixBytes);
  if (bytes.size() < sizeof(std::uint32_t) || length > bytes.size() - sizeof(std::uint32_t)) {
    return std::nullopt;
  }
  const auto header = bytes.first(length);
  const std::uint32_t key_crc = Crc32c(header);
  if (Taker(bytes.subspan(length)).Take<std::uint32_t>() != key_crc) return std::nullopt;

  ObjectIndex index;
  Taker taker(header);
  const auto block_bytes = taker.Take<std::uint32_t>();
  index.key.size = taker.Take<std::uint64_t>();
  index.key.identity = taker.TakeString();
  index.key.path = taker.TakeString();
  index.key.version = taker.TakeString();
  if (!taker.Good() || block_bytes != kBlockBytes || index.key.size > kMostObjectBytes) {
    return std::nullopt;
  }
  // With more behind the key, records of ours would not be believed next time.
  if (EncodeKey(index.key).size() != header.size()) return std::nullopt;

  bytes = bytes.subspan(length + sizeof(std::uint32_t));
  index.append_at = kPrefixBytes + length + sizeof(std::uint32_t);
  const std::uint32_t blocks = BlockCount(index.key.size);
  while (bytes.size() >= kRecordBytes) {
    Taker record(bytes);
    const BlockRecord value{record.Take<std::uint32_t>(), record.Take<std::uint32_t>()};
    const bool sound = record.Take<std::uint32_t>() == RecordCrc(key_crc, bytes.first(8));
    if (sound && value.block < blocks) index.records.push_back(value);
    bytes = bytes.subspan(kRecordBytes);
    index.append_at += kRecordBytes;
  }
  return index;
}

}  // namespace sluice::cache
