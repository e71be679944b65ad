// The tier between the node cache and the origin: chunks that the whole cluster shares.
//
//   auto source = PooledSourceOf(SourceOf(origin), pool, options, metrics, log);
//   auto file = reader->Open(source, object);
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "sluice/cache/chunk_source.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/chunk_pool.h"

namespace sluice::cache {

struct PooledOptions {
  std::string dataset_uid;  // keeps the chunks of datasets apart
  // Of all chunks on their way or just used, at least 8 MiB; what does not fit waits its turn.
  std::uint64_t memory_bytes = 64ULL << 20;
  // While bytes of a chunk come that this client fills, the pool is told so as often. A fraction of
  // the pool's lease, or others begin to fill it as well.
  std::chrono::milliseconds renew_every{500};
  // How long to wait in all for a chunk that another client fills, before it is read from behind.
  // More than a lease of the pool, or nobody takes over from a client that died.
  std::chrono::milliseconds most_wait = std::chrono::seconds(8);
  // How long the end waits for what the pool was asked: others may be waiting for what comes of it.
  std::chrono::milliseconds most_wait_at_end = std::chrono::seconds(1);
  // A chunk of which only a part was wanted stays in memory for so long after its last use.
  std::chrono::milliseconds keep = std::chrono::seconds(10);
};

// Reads chunks from `pool`, and those that it has not got from `behind`. One client of the pool
// fills each chunk; the others wait for it, and take over when it does not come. All fetches of
// this source for a chunk share one transfer of it. A fetch of a small part for a random read of a
// chunk that the pool has not got looks for the pieces of 256 KiB that it lies in, fills those that
// it is most of, and reads the rest from behind. Whatever goes wrong with the
// pool is counted and costs nothing but the read from behind, so errors are those of `behind`; and
// kInvalidArgument for a range beyond the object.
//
// At the end of the returned source its fetches fail with kUnavailable; a callback that another
// thread is in may return a little later. The end waits a moment for the pool, so that other
// clients need not wait for chunks that this one was going to fill. The source must not be
// destroyed from within a callback: its own, or one of `behind` or `pool`. `metrics` must outlive
// both of them.
std::shared_ptr<ChunkSource> PooledSourceOf(std::shared_ptr<ChunkSource> behind,
                                            std::shared_ptr<ChunkPool> pool, PooledOptions options,
                                            platform::Metrics& metrics, const platform::Log& log);

}  // namespace sluice::cache
