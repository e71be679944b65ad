// Chunks that the whole cluster shares: what one client puts there, every client finds until it is
// evicted. The adapter for memcached is in pool/, the fake test/support/fake_chunk_pool.h.
//
// A pool is never needed to answer a read: whatever goes wrong here, the bytes are at the origin.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "sluice/core/result.h"

namespace sluice {

// What a pool answers for a key.
struct PoolAnswer {
  enum class Kind {
    kHit,   // the value is in the buffer
    kFill,  // absent, and for `lease` nobody but the caller fills it: read the origin, then Put
    kWait,  // absent, and another client fills it: ask again soon
    kMiss,  // absent; nobody was asked to fill it
  };
  Kind kind = Kind::kMiss;
  std::uint32_t checksum = 0;  // of a hit, as it was put; the caller verifies
  std::uint64_t lease = 0;     // of kFill
};

// Threads: every method may be called from any thread, and none blocks. Each callback is called
// exactly once, in bounded time, from a thread of the pool or from within the call; it must not
// block. A buffer given to a call must stay where it is until that call's callback.
// A key is 1 to 250 printable ASCII characters without blanks; no value is empty.
// Errors: kUnavailable (no worker, its connection lost, the worker left out after failures, too
// much waits for it), kDeadlineExceeded, kInvalidArgument (such a key or buffer). Retrying is not
// the pool's: its callers have the origin.
class ChunkPool {
 public:
  virtual ~ChunkPool() = default;

  enum class OnMiss { kReport, kLease };
  using GetDone = std::function<void(Result<PoolAnswer>)>;
  // Fills `into`, whose size is the chunk's. A value of another size is no hit: it is dropped.
  // With kLease a miss is answered by kFill to one client at a time, by kWait to all others; a
  // client that does not Put or Drop loses its turn after some seconds.
  virtual void Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
                   GetDone done) = 0;

  using Done = std::function<void(Status)>;
  // Stores the value if the lease still is the caller's; that it is not, or that there is no room,
  // is a success too.
  virtual void Put(const std::string& key, std::uint64_t lease, std::span<const std::byte> value,
                   std::uint32_t checksum, Done done) = 0;

  // Forgets the key: the value was wrong, or the lease is not going to be used. Best effort.
  virtual void Drop(const std::string& key) = 0;
};

}  // namespace sluice
