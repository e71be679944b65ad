#include "wire.h"

#include <fcntl.h>

#include <cstring>

namespace sluice::fuse_client {
namespace {

struct InitRequest {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t max_readahead = 0;
  std::uint32_t flags = 0;
  std::uint32_t flags2 = 0;  // protocol 7.36 and later
};

struct InitReply {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t max_readahead = 0;
  std::uint32_t flags = 0;
  std::uint16_t max_background = 0;
  std::uint16_t congestion_threshold = 0;
  std::uint32_t max_write = 0;
  std::uint32_t time_granularity = 0;
  std::uint16_t max_pages = 0;
  std::uint16_t map_alignment = 0;
  std::uint32_t flags2 = 0;
  std::uint32_t max_stack_depth = 0;
  std::uint32_t unused[6] = {};
};
static_assert(sizeof(InitReply) == 64);

constexpr std::uint32_t kParallelDirops = 1U << 18;
constexpr std::uint32_t kMaxPages = 1U << 22;
constexpr std::uint32_t kInitExtension = 1U << 30;
constexpr std::uint32_t kPassthrough2 = 1U << (37 - 32);
constexpr std::uint32_t kHasResend2 = 1U << (39 - 32);
// The smallest the kernel takes: requests of a read-only file system then fit a journal slot.
constexpr std::uint32_t kMaxWrite = 4096;
// What libfuse's buffer holds beside the headers.
constexpr std::uint32_t kMaxWriteOfWriter = 1U << 20;
// The device's read-ahead is lowered to this at INIT, so leave room for what the holder sets.
constexpr std::uint32_t kMaxReadahead = 16U << 20;

InitRequest Parse(std::span<const std::byte> request) {
  InitRequest out;
  constexpr std::size_t kShort = 16;
  if (request.size() < sizeof(RequestHeader) + kShort) return out;
  const auto body = request.subspan(sizeof(RequestHeader));
  std::memcpy(&out, body.data(), body.size() < sizeof(out) ? kShort : sizeof(out));
  if ((out.flags & kInitExtension) == 0) out.flags2 = 0;
  return out;
}

}  // namespace

bool IsChange(std::span<const std::byte> request) {
  if (request.size() < sizeof(RequestHeader)) return false;
  RequestHeader header;
  std::memcpy(&header, request.data(), sizeof(header));
  switch (static_cast<Opcode>(header.opcode)) {
    case Opcode::kMakeDirectory:
    case Opcode::kRemoveDirectory:
    case Opcode::kRename:
    case Opcode::kRename2:
    case Opcode::kWrite:
    case Opcode::kCreate:
      return true;
    case Opcode::kOpen: {
      std::uint32_t flags = 0;
      if (request.size() < sizeof(header) + sizeof(flags)) return false;
      std::memcpy(&flags, request.data() + sizeof(header), sizeof(flags));
      return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    }
    default:
      return false;
  }
}

bool OffersPassthrough(std::span<const std::byte> init_request) {
  return (Parse(init_request).flags2 & kPassthrough2) != 0;
}

std::vector<std::byte> PatchInitReply(std::span<const std::byte> init_request,
                                      std::span<const std::byte> reply_body,
                                      const InitPolicy& policy) {
  std::vector<std::byte> out(reply_body.begin(), reply_body.end());
  const InitRequest offer = Parse(init_request);
  if (out.size() < sizeof(InitReply) || offer.major == 0) return out;
  InitReply reply;
  std::memcpy(&reply, out.data(), sizeof(reply));
  reply.flags |= offer.flags & (kParallelDirops | kMaxPages);
  reply.max_readahead = kMaxReadahead;
  reply.max_write = policy.writing ? kMaxWriteOfWriter : kMaxWrite;
  reply.max_background = policy.max_background;
  reply.congestion_threshold = policy.congestion_threshold;
  if ((offer.flags & kMaxPages) != 0) reply.max_pages = policy.max_pages;
  std::uint32_t more = offer.flags2 & kHasResend2;
  if (policy.passthrough && (offer.flags2 & kPassthrough2) != 0) {
    more |= kPassthrough2;
    reply.max_stack_depth = policy.max_stack_depth;
  }
  if (more != 0) {
    reply.flags |= kInitExtension;
    reply.flags2 |= more;
  }
  std::memcpy(out.data(), &reply, sizeof(reply));
  return out;
}

}  // namespace sluice::fuse_client
