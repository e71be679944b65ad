// A pool whose workers see no chunk: what is put is encrypted and authenticated by AES-256-GCM with
// the key of the dataset, and what comes back is decrypted in place (pool/src/chunk_cipher.h). The
// key's identity is part of every key, so that clients with another one just miss.
#pragma once

#include <memory>
#include <string>

#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/chunk_pool.h"

namespace sluice::pool {

// `key_file` has 64 hexadecimal digits in its first line. It is read at the first call that finds
// it, and no more; until then all calls are kUnavailable, and nothing is sent in the clear.
// A hit that does not authenticate says so (PoolAnswer::forged). At most 16 MiB are on their way to
// `pool` at a time, further puts wait their turn. `metrics` must outlive all calls. Decrypting and
// encrypting is done within the calls and callbacks, about a millisecond for a chunk of 4 MiB.
// Like `pool` itself it must not end in a callback.
std::shared_ptr<ChunkPool> EncryptedPoolOf(std::shared_ptr<ChunkPool> pool, std::string key_file,
                                           platform::Metrics& metrics, platform::Log log);

}  // namespace sluice::pool
