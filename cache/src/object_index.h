// The bytes of the index file that stands beside each cache file and says which of its blocks can
// be trusted (docs/cache-format.md). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sluice::cache {

// What a cache file holds a copy of.
struct CacheKey {
  std::string identity;  // of the origin
  std::string path;
  std::string version;
  std::uint64_t size = 0;

  bool operator==(const CacheKey&) const = default;
};

// The base of the file names of this key: hexadecimal, equal keys only (SHA-256, 160 bits).
std::string CacheFileName(const CacheKey& key);

struct BlockRecord {
  std::uint32_t block = 0;
  std::uint32_t crc = 0;  // CRC-32C of the block's bytes
};

struct ObjectIndex {
  CacheKey key;
  std::vector<BlockRecord> records;  // only those whose own checksum is right
  std::uint64_t append_at = 0;       // where the next record belongs
};

using ByteBuffer = std::vector<std::byte>;

ByteBuffer EncodeIndexHeader(const CacheKey& key);
// Records are bound to the header, so that one of another object is not believed.
ByteBuffer EncodeRecord(const CacheKey& key, const BlockRecord& record);

// Nothing when the header is damaged or of another format. Torn or damaged records are left out.
std::optional<ObjectIndex> DecodeIndex(std::span<const std::byte> bytes);

}  // namespace sluice::cache
