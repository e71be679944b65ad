// AES-256-GCM over one chunk. What a worker keeps is
//
//   encrypted: the value, its checksum (4 bytes, little-endian)
//   in the clear: a random nonce (12 bytes), the tag (16 bytes)
//
// and the key under which the worker keeps it is authenticated as well, so that no value passes for
// another one's. Pure but for the nonce.
//
// A nonce that came twice would give away both values. They are random, so one key is good for
// about 2^32 chunks put (NIST SP 800-38D, 8.3): of 4 MiB each that is 16 EiB.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sluice/core/result.h"

namespace sluice::pool {

// Threads: any.
class ChunkCipher {
 public:
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kOverhead = 4 + 12 + 16;
  using Key = std::array<unsigned char, kKeyBytes>;

  explicit ChunkCipher(const Key& key);
  ~ChunkCipher();  // forgets the key
  ChunkCipher(const ChunkCipher&) = delete;
  ChunkCipher& operator=(const ChunkCipher&) = delete;

  // 16 hexadecimal digits that tell keys apart and say nothing of them.
  [[nodiscard]] const std::string& KeyId() const { return id_; }

  // `into` has kOverhead bytes more than `value`. kInternal when the machine has no randomness.
  Status Seal(std::string_view name, std::span<const std::byte> value, std::uint32_t checksum,
              std::span<std::byte> into) const;
  // Decrypts in place: the value is what lies before the last kOverhead bytes. Its checksum;
  // nothing when this is not what was sealed under the name by this key, and then the bytes are
  // worth nothing.
  [[nodiscard]] std::optional<std::uint32_t> Open(std::string_view name,
                                                  std::span<std::byte> sealed) const;

 private:
  Key key_;
  std::string id_;
};

// The key in the first line of a file, 64 hexadecimal digits. kPermissionDenied names the file and
// what is wrong with it, never what is in it.
Result<ChunkCipher::Key> ReadChunkKey(const std::string& path);

}  // namespace sluice::pool
