// Any bytes as the index file of an object in the node cache (docs/cache-format.md). The first
// byte says what of it is made right before it is read: chance finds no checksum.
#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>

#include "crc32c.h"
#include "demand.h"
#include "geometry.h"
#include "object_index.h"

namespace {

using sluice::test::Demand;
namespace cache = sluice::cache;
using cache::ByteBuffer;
using Bytes = std::span<const std::byte>;

constexpr std::size_t kPrefixBytes = 12;
constexpr std::size_t kCrcBytes = 4;
constexpr std::size_t kRecordBytes = 12;
enum Repair : unsigned { kHeader = 1, kRecords = 2 };

void Put(ByteBuffer& bytes, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < sizeof(value); ++i) {
    bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

// Writes magic, length and checksums over what stands in their places.
void MakeRight(ByteBuffer& bytes, unsigned what, std::size_t key_bytes) {
  if ((what & kHeader) == 0 || bytes.size() < kPrefixBytes + kCrcBytes) return;
  std::memcpy(bytes.data(), "SLUICEC1", 8);
  key_bytes = std::min(key_bytes, bytes.size() - kPrefixBytes - kCrcBytes);
  Put(bytes, 8, static_cast<std::uint32_t>(key_bytes));
  const std::uint32_t key_crc = cache::Crc32c(Bytes(bytes).subspan(kPrefixBytes, key_bytes));
  Put(bytes, kPrefixBytes + key_bytes, key_crc);
  if ((what & kRecords) == 0) return;
  for (std::size_t at = kPrefixBytes + key_bytes + kCrcBytes; at + kRecordBytes <= bytes.size();
       at += kRecordBytes) {
    Put(bytes, at + 8, cache::Crc32c(Bytes(bytes).subspan(at, 8), key_crc));
  }
}

ByteBuffer Written(const cache::CacheKey& key, std::span<const cache::BlockRecord> records) {
  ByteBuffer bytes = cache::EncodeIndexHeader(key);
  for (const auto& record : records) {
    const ByteBuffer encoded = cache::EncodeRecord(key, record);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  }
  return bytes;
}

bool Same(std::span<const cache::BlockRecord> a, std::span<const cache::BlockRecord> b) {
  return std::ranges::equal(
      a, b, [](const auto& x, const auto& y) { return x.block == y.block && x.crc == y.crc; });
}

void DemandSound(Bytes bytes, const cache::ObjectIndex& index) {
  const std::string& path = index.key.path;
  const ByteBuffer header = cache::EncodeIndexHeader(index.key);
  Demand(bytes.size() >= header.size() && std::ranges::equal(bytes.first(header.size()), header),
         "only the header that we would write is believed", path);
  Demand(index.append_at <= bytes.size() && bytes.size() - index.append_at < kRecordBytes &&
             (index.append_at - header.size()) % kRecordBytes == 0,
         "the next record belongs behind the last whole one", path);
  for (const auto& record : index.records) {
    // Every block has a first byte; and nothing of this may overflow.
    Demand(std::uint64_t{record.block} * cache::kBlockBytes < index.key.size,
           "a block lies in the object", path);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const auto* const begin = reinterpret_cast<const std::byte*>(data);
  ByteBuffer bytes(begin + 3, begin + size);
  MakeRight(bytes, data[0], data[1]);
  const auto index = cache::DecodeIndex(bytes);
  if (!index) return 0;
  DemandSound(bytes, *index);

  // Torn anywhere: what is left is the beginning of what was there.
  const auto torn = cache::DecodeIndex(Bytes(bytes).first(bytes.size() * data[2] / 255));
  if (torn) {
    Demand(torn->key == index->key && torn->records.size() <= index->records.size() &&
               Same(torn->records, std::span(index->records).first(torn->records.size())),
           "a torn file says no more than the whole one", index->key.path);
  }

  const ByteBuffer written = Written(index->key, index->records);
  const auto back = cache::DecodeIndex(written);
  Demand(back && back->key == index->key && Same(back->records, index->records) &&
             back->append_at == written.size(),
         "an index that is written reads back", index->key.path);

  if (index->key.size == 0) return 0;
  bytes.resize(index->append_at);
  const ByteBuffer record = cache::EncodeRecord(index->key, {0, 7});
  bytes.insert(bytes.end(), record.begin(), record.end());
  const auto appended = cache::DecodeIndex(bytes);
  Demand(appended && appended->records.size() == index->records.size() + 1,
         "a record that is appended is believed", index->key.path);
  Demand(cache::CacheFileName(index->key).size() == 40, "names are of one length", "");
  return 0;
}
