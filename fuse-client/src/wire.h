// The FUSE wire format as far as we handle it ourselves (Linux uapi; newer than libfuse 3.14's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sluice::fuse_client {

enum class Opcode : std::uint32_t {
  kForget = 2,
  kMakeDirectory = 9,
  kRemoveDirectory = 11,
  kRename = 12,
  kOpen = 14,
  kWrite = 16,
  kInit = 26,
  kCreate = 35,
  kInterrupt = 36,
  kBatchForget = 42,
  kRename2 = 45,
};

struct RequestHeader {
  std::uint32_t length = 0;
  std::uint32_t opcode = 0;
  std::uint64_t unique = 0;
  std::uint64_t node_id = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pid = 0;
  std::uint16_t extension_length = 0;
  std::uint16_t padding = 0;
};
static_assert(sizeof(RequestHeader) == 40);

struct ReplyHeader {
  std::uint32_t length = 0;
  std::int32_t error = 0;  // -errno, or a notification's number
  std::uint64_t unique = 0;
};
static_assert(sizeof(ReplyHeader) == 16);

struct OpenReply {
  std::uint64_t handle = 0;
  std::uint32_t flags = 0;
  std::int32_t backing_id = 0;
};
static_assert(sizeof(OpenReply) == 16);

inline constexpr std::uint32_t kOpenKeepCache = 2;
inline constexpr std::uint32_t kOpenNoFlush = 32;
inline constexpr std::uint32_t kOpenPassthrough = 128;
inline constexpr std::int32_t kNotifyResend = 7;
// Set in `unique` of a request that the kernel sends again; the answer must carry it.
inline constexpr std::uint64_t kResentUnique = 1ULL << 63;

// What we ask the kernel for beyond what libfuse does.
struct InitPolicy {
  bool passthrough = true;
  std::uint32_t max_stack_depth = 1;   // 2 when the cache lies on overlayfs
  std::uint16_t max_background = 128;  // requests the kernel keeps in flight for read-ahead
  std::uint16_t congestion_threshold = 96;
  std::uint16_t max_pages = 1024;  // the kernel lowers it to its own limit
  bool writing = false;            // writes of a MiB at once, which fit no journal slot
};

// Whether a request (with header, perhaps cut) changes something, so that it must not be carried
// out by two processes.
bool IsChange(std::span<const std::byte> request);

// Of an INIT request (with header): whether the kernel offers passthrough.
bool OffersPassthrough(std::span<const std::byte> init_request);
// The body of an INIT reply, completed. Only flags that the request offers are added. A body or
// request that is too short comes back unchanged.
std::vector<std::byte> PatchInitReply(std::span<const std::byte> init_request,
                                      std::span<const std::byte> reply_body,
                                      const InitPolicy& policy);

}  // namespace sluice::fuse_client
