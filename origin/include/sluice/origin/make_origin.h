// Opens the origin of one mount: the only header of this module that a program needs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "sluice/core/fuse_config.h"
#include "sluice/core/result.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/origin.h"

namespace sluice::origin {

// Bounds of one origin. The defaults suit a client that reads model weights from an object store.
// Those that a mount's options give (core/transfer_options.h) win over these.
struct OriginLimits {
  unsigned max_connections = 16;  // TCP connections (S3) or reading threads (directory: at most 8)
  std::uint64_t bytes_per_second = 0;  // of all bodies and reads together; 0: as many as come
  // A second request for a read whose first byte is late, for a twentieth of the reads at most.
  bool hedge = true;
  std::chrono::milliseconds hedge_floor{50};  // nothing is late before
  unsigned max_queued_reads = 4096;           // further reads are refused (kUnavailable)
  unsigned max_attempts = 8;  // of one read or one page of a listing; progress starts anew
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds stall_timeout{5'000};  // no byte for so long: cut, go on elsewhere
  std::chrono::milliseconds first_backoff{50};     // doubles up to max_backoff, full jitter
  std::chrono::milliseconds max_backoff{5'000};
  std::chrono::milliseconds deadline{60'000};  // of one read or page, retries included
  // What a listing may take in memory, asked when it begins; a longer one is an error.
  std::function<std::uint64_t()> max_listing_bytes = [] { return 4ULL << 30; };
  // A read of many bytes may take longer than `deadline`, but not for ever.
  std::uint64_t slowest_bytes_per_second = 256U << 10;

  [[nodiscard]] std::chrono::steady_clock::time_point DeadlineOf(std::uint64_t read_bytes) const {
    // A limit of bandwidth is shared by what is under way.
    const std::uint64_t share = bytes_per_second / max_connections;
    const std::uint64_t slowest =
        bytes_per_second == 0 ? slowest_bytes_per_second
                              : std::clamp<std::uint64_t>(share, 1, slowest_bytes_per_second);
    return std::chrono::steady_clock::now() + deadline + std::chrono::seconds(read_bytes / slowest);
  }
};

// Chooses the adapter by the mount's scheme: s3, oss, cos, obs, minio; http, https; hf; file,
// local. (pvc:// is
// resolved into a path by the controller: kInvalidArgument here.)
//
// Reads the secret files (an unreadable one is kPermissionDenied that names option and file) but
// talks to no server, so it succeeds while the origin is down: the first List tells. Secret
// files are read again when the server refuses a request, so rotated credentials are picked up. An
// object store's mount without keys looks for an identity in the process's environment, read here
// once (docs/origins.md).
//
// Starts the adapter's threads; the destructor cancels what is under way (each ReadDone is called,
// with kUnavailable) and joins them. `metrics` must outlive the origin.
Result<std::unique_ptr<Origin>> MakeOrigin(const MountConfig& mount, const OriginLimits& limits,
                                           platform::Metrics& metrics, platform::Log log);

}  // namespace sluice::origin
