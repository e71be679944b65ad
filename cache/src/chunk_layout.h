// How an object is cut into the chunks of the pool, and the key of each. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "sluice/cache/chunk_source.h"

#include "geometry.h"

namespace sluice::cache {

inline constexpr std::uint64_t kMostChunkBytes = 4ULL << 20;

// Small objects are cut finer, so that a chunk is not much more than what is read of them.
inline std::uint64_t ChunkBytes(std::uint64_t object_size) {
  constexpr std::uint64_t kLargeObject = 64ULL << 20;
  constexpr std::uint64_t kSmallChunk = 1ULL << 20;
  return object_size >= kLargeObject ? kMostChunkBytes : kSmallChunk;
}

inline std::uint64_t ChunkOf(std::uint64_t object_size, std::uint64_t offset) {
  return offset / ChunkBytes(object_size);
}
// The last chunk of an object is as long as what is left.
inline Range ChunkRange(std::uint64_t object_size, std::uint64_t chunk) {
  const std::uint64_t begin = chunk * ChunkBytes(object_size);
  return {begin, std::min(object_size, begin + ChunkBytes(object_size))};
}

// Of a chunk that the pool has not got, what random reads bring is kept there in pieces: the blocks
// that the engine reads.
inline std::uint64_t PieceOf(std::uint64_t offset) { return offset / kBlockBytes; }
inline Range PieceRange(std::uint64_t object_size, std::uint64_t piece) {
  const std::uint64_t begin = piece * kBlockBytes;
  return {begin, std::min(object_size, begin + kBlockBytes)};
}

// Whether the part of a fetch that lies in a chunk should bring all of the chunk: the reader will
// come to the rest, or this is most of it. Anything else is a random read, which must not wait for
// more than it asked for.
inline bool WantsWholeChunk(const Range& part, const Range& chunk, Pattern pattern) {
  return pattern == Pattern::kSequential || part.Size() * 2 >= chunk.Size();
}

// What the chunks of one version of an object have in common.
struct ChunkOwner {
  std::string dataset_uid;
  std::string identity;  // of the origin
  std::string path;
  std::string version;
  std::uint64_t size = 0;
};

// The part of the key that all chunks of the owner share: 22 characters of base64url (SHA-256, 128
// bits of it). Another version, or another way of cutting, is another key: nothing in the pool is
// ever overwritten.
std::string ChunkKeyBase(const ChunkOwner& owner);

// "<base>:<chunk in hexadecimal>".
std::string ChunkKey(const std::string& base, std::uint64_t chunk);
// "<base>:256k<piece in hexadecimal>", with the size of a piece; they are counted through the whole
// object.
std::string PieceKey(const std::string& base, std::uint64_t piece);

}  // namespace sluice::cache
