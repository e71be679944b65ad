// Where bytes that are not on this node come from. The tiers behind the node cache are stacked
// implementations: the origin itself, and a pool of cache workers in front of it (pooled_source.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sluice/ports/origin.h"

namespace sluice::cache {

// Whether the reader goes on behind what it fetches, so that all of a chunk will be wanted.
enum class Pattern { kRandom, kSequential };

class ChunkSource {
 public:
  virtual ~ChunkSource() = default;

  // The contract of Origin::ReadAsync: bytes of exactly this version, in order, as they arrive;
  // `done` exactly once, possibly before FetchAsync returns. Must not block. Threads: any.
  virtual void FetchAsync(const OriginObject& object, std::uint64_t offset, std::uint64_t length,
                          Pattern pattern, ReadSink sink, ReadDone done) = 0;

  // Names the origin behind all tiers, without credentials: equal identity, path and version mean
  // equal bytes, also after a restart. It becomes part of the node cache's keys.
  [[nodiscard]] virtual std::string Identity() const = 0;
};

// The last tier: every fetch is a read of the origin. Identity is origin->Describe().
std::shared_ptr<ChunkSource> SourceOf(std::shared_ptr<Origin> origin);

}  // namespace sluice::cache
