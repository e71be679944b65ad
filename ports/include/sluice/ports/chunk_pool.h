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

// What is kept under a key at one moment: a value, or a lease. Another one, once anything is stored
// there.
struct PoolVersion {
  std::uint64_t number = 0;  // 0: none
  std::uint64_t place = 0;   // the pool's own affair
  bool operator==(const PoolVersion&) const = default;
};

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
  PoolVersion value{};         // of a hit
  // Of kFill. Of a hit, too, when the value was found where it no longer belongs: Put it by that.
  PoolVersion lease{};
  bool forged = false;  // a hit that is known to be wrong, whatever its checksum says
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
  // Bytes that every buffer of Get needs behind the value, and that the pool may write to.
  [[nodiscard]] virtual std::size_t Room() const { return 0; }

  using GetDone = std::function<void(Result<PoolAnswer>)>;
  // Fills `into`, whose size is the chunk's and Room(). A value of another size is no hit: it is
  // dropped.
  // With kLease a miss is answered by kFill to one client at a time, by kWait to all others; a
  // client that does none of Renew, Put and Drop loses its turn after some seconds.
  virtual void Get(const std::string& key, std::span<std::byte> into, OnMiss on_miss,
                   GetDone done) = 0;

  // Begins the lease's time anew, and never that of another client's lease. The answer is the lease
  // from now on. kNotFound: it is over, or another client's by now.
  using RenewDone = std::function<void(Result<PoolVersion>)>;
  virtual void Renew(const std::string& key, const PoolVersion& lease, RenewDone done) = 0;

  using Done = std::function<void(Status)>;
  // Stores the value if the lease still is the caller's, or if it is over and nothing took its
  // place. That neither is so, or that there is no room, is a success too.
  virtual void Put(const std::string& key, const PoolVersion& lease,
                   std::span<const std::byte> value, std::uint32_t checksum, Done done) = 0;

  // Forgets this version of the key, and no other: the value was wrong, or the lease is not going
  // to be used. Best effort; `done` says that nothing more is done about it.
  virtual void Drop(const std::string& key, const PoolVersion& version,
                    std::function<void()> done) = 0;
};

}  // namespace sluice
