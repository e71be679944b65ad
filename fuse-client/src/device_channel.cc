#include "device_channel.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace sluice::fuse_client {
namespace {

using std::chrono::milliseconds;

// A request found armed by so many processes in a row is taken for the one that kills them.
constexpr std::uint32_t kPoisonReplays = 10;
constexpr milliseconds kReplayPatience{200};
constexpr milliseconds kSlotPatience{100};

std::size_t TotalBytes(const iovec* pieces, int count) {
  std::size_t total = 0;
  for (int i = 0; i < count; ++i) total += pieces[i].iov_len;
  return total;
}

ssize_t FailWith(int error) {
  errno = error;
  return -1;
}

}  // namespace

DeviceChannel::DeviceChannel(int device, StateFile& state, const InitPolicy& policy,
                             platform::Metrics& metrics, const platform::Log& log)
    : device_(device),
      state_(state),
      policy_(policy),
      log_(log),
      replayed_(metrics.AddCounter("sluice_fuse_replayed_requests_total",
                                   "Requests answered for a predecessor that was killed")) {
  const bool takeover = state_.IsTakeover();
  slots_.With([&](Slots& slots) {
    for (std::uint32_t slot = kJournalSlots; slot-- > 0;) {
      const RequestHeader& request = Header(slot);
      if (takeover && request.unique != 0 && request.length >= sizeof(RequestHeader)) {
        slots.armed[request.unique] = slot;
        slots.replay.push_front(slot);
      } else {
        ClearSlot(slot);
        slots.free.push_back(slot);
      }
    }
    // Oldest first, as the kernel numbered them, whether it has sent them again or not.
    std::ranges::sort(slots.replay, {},
                      [&](std::uint32_t slot) { return Header(slot).unique & ~kResentUnique; });
    slots.replaying = slots.replay.size();
  });
  if (takeover) resend_ = Resend::kPending;
}

RequestHeader& DeviceChannel::Header(std::uint32_t slot) {
  return *reinterpret_cast<RequestHeader*>(state_.Slot(slot).data());
}

bool DeviceChannel::Passthrough() const {
  const StateHeader& header = state_.Header();
  return policy_.passthrough && OffersPassthrough({header.init_request, header.init_request_bytes});
}

RequestEffect DeviceChannel::EffectOf(std::uint64_t unique) {
  return slots_.With([&](const Slots& slots) {
    const auto armed = slots.armed.find(unique);
    return armed == slots.armed.end() ? RequestEffect()
                                      : RequestEffect(state_.Header().effects[armed->second]);
  });
}

bool DeviceChannel::GivenUp(std::uint64_t unique) const {
  return slots_.With([&](const Slots& slots) {
    const auto armed = slots.armed.find(unique);
    return armed != slots.armed.end() && state_.Header().replays[armed->second] >= kPoisonReplays;
  });
}

std::size_t DeviceChannel::InFlight() const {
  return slots_.With([](const Slots& slots) { return slots.armed.size(); });
}

ssize_t DeviceChannel::Read(void* buffer, std::size_t size) {
  if (!init_read_.exchange(true)) {
    const ssize_t n = ReadInit(buffer, size);
    if (n < 0) init_read_ = false;
    return n;
  }
  const ssize_t replayed = TakeReplay(buffer, size);
  if (replayed != 0) return replayed;
  FinishReplay();
  return ReadRequest(buffer, size);
}

ssize_t DeviceChannel::ReadInit(void* buffer, std::size_t size) {
  StateHeader& header = state_.Header();
  // Also when a predecessor read it and was killed before it could answer.
  if (header.init_request_bytes == 0) {
    const ssize_t n = ::read(device_, buffer, size);
    if (n < 0) return n;
    if (static_cast<std::size_t>(n) > kMaxInitBytes ||
        static_cast<std::size_t>(n) < sizeof(RequestHeader)) {
      return FailWith(EPROTO);
    }
    std::memcpy(header.init_request, buffer, static_cast<std::size_t>(n));
    header.init_request_bytes = static_cast<std::uint32_t>(n);
  }
  RequestHeader request;
  std::memcpy(&request, header.init_request, sizeof(request));
  init_unique_ = request.unique;
  std::memcpy(buffer, header.init_request, header.init_request_bytes);
  return static_cast<ssize_t>(header.init_request_bytes);
}

ssize_t DeviceChannel::WriteInit(const iovec* pieces, int count) {
  StateHeader& header = state_.Header();
  const std::size_t total = TotalBytes(pieces, count);
  init_answered_ = true;
  if (header.init_done != 0) return static_cast<ssize_t>(total);

  std::vector<std::byte> reply;
  for (int i = 0; i < count; ++i) {
    const auto* const begin = static_cast<const std::byte*>(pieces[i].iov_base);
    reply.insert(reply.end(), begin, begin + pieces[i].iov_len);
  }
  if (reply.size() < sizeof(ReplyHeader) || reply.size() > kMaxInitBytes) return FailWith(EPROTO);
  const std::span<const std::byte> body = std::span(reply).subspan(sizeof(ReplyHeader));
  const auto patched =
      PatchInitReply({header.init_request, header.init_request_bytes}, body, policy_);
  std::ranges::copy(patched, reply.begin() + sizeof(ReplyHeader));
  std::ranges::copy(reply, header.init_reply);
  header.init_reply_bytes = static_cast<std::uint32_t>(reply.size());
  const ssize_t n = ::write(device_, reply.data(), reply.size());
  // ENOENT: a predecessor was killed just after this write.
  if (n < 0 && errno != ENOENT) return n;
  header.init_done = 1;
  return static_cast<ssize_t>(total);
}

ssize_t DeviceChannel::TakeReplay(void* buffer, std::size_t size) {
  if (resend_ != Resend::kPending) return 0;
  while (true) {
    std::uint32_t slot = 0;
    const bool found = slots_.With([&](Slots& slots) {
      if (slots.replay.empty()) return false;
      slot = slots.replay.front();
      slots.replay.pop_front();
      return true;
    });
    if (!found) return 0;
    const RequestHeader request = Header(slot);
    std::uint32_t& replays = state_.Header().replays[slot];
    if (++replays >= kPoisonReplays) {
      log_.Error("request given up: it was under way at the end of ten processes",
                 {{"opcode", request.opcode}, {"node", request.node_id}});
      const bool counted_open = request.opcode == static_cast<std::uint32_t>(Opcode::kOpen) &&
                                RequestEffect(state_.Header().effects[slot]).Done();
      if (!counted_open) {
        ReplyError(request.unique, EIO);
        ReleaseUnique(request.unique);
        continue;
      }
    }
    // The file that it is about went with the predecessor, or may be there already.
    if (IsChange(state_.Slot(slot)) || request.length > kSlotBytes) {
      ReplyError(request.unique, EIO);
      ReleaseUnique(request.unique);
      continue;
    }
    if (HandledHere(request) || request.length > size) {
      ReleaseUnique(request.unique);
      continue;
    }
    replayed_.Add();
    std::memcpy(buffer, state_.Slot(slot).data(), request.length);
    return static_cast<ssize_t>(request.length);
  }
}

// Once, before the first new request: waits a moment for what was replayed, then asks the kernel
// for anything that no slot knew. It sends again whatever is read and not answered, so nobody may
// read before it was asked; and while replayed requests are still waiting for the origin it is not
// asked at all, since it would send those again; the journal is complete without it.
void DeviceChannel::FinishReplay() {
  if (resend_ == Resend::kPending) {
    const bool all_answered =
        slots_.WaitUntil(std::chrono::steady_clock::now() + kReplayPatience,
                         [](const Slots& slots) { return slots.replaying == 0; });
    Resend expected = Resend::kPending;
    if (resend_.compare_exchange_strong(expected, Resend::kSending)) {
      if (all_answered) AskForResend();
      slots_.With([&](Slots&) { resend_ = Resend::kDone; });
      slots_.Notify();
    }
  }
  while (resend_ == Resend::kSending && !stopping_) {
    slots_.WaitUntil(std::chrono::steady_clock::now() + kSlotPatience,
                     [&](const Slots&) { return resend_ != Resend::kSending || stopping_; });
  }
}

void DeviceChannel::AskForResend() const {
  const ReplyHeader resend = {.length = sizeof(ReplyHeader), .error = kNotifyResend, .unique = 0};
  // Kernels before 6.9 refuse; nothing is lost.
  (void)!::write(device_, &resend, sizeof(resend));
}

bool DeviceChannel::AcquireSlot(std::uint32_t& slot) {
  while (!stopping_) {
    const bool free = slots_.With([&](Slots& slots) {
      if (slots.free.empty()) return false;
      slot = slots.free.back();
      slots.free.pop_back();
      return true;
    });
    if (free) return true;
    // Back-pressure: what we don't read waits in the kernel's queue.
    slots_.WaitUntil(std::chrono::steady_clock::now() + kSlotPatience,
                     [&](const Slots& slots) { return stopping_ || !slots.free.empty(); });
  }
  return false;
}

// `unique` first: a request that is still there keeps its effect. Killed in between, the slot is
// cleared again before it is used.
void DeviceChannel::ClearSlot(std::uint32_t slot) {
  std::atomic_ref(Header(slot).unique).store(0, std::memory_order_release);
  state_.Header().replays[slot] = 0;
  std::atomic_ref(state_.Header().effects[slot]).store(0, std::memory_order_release);
}

void DeviceChannel::ReleaseSlot(std::uint32_t slot) {
  ClearSlot(slot);
  slots_.With([&](Slots& slots) { slots.free.push_back(slot); });
  slots_.Notify();
}

void DeviceChannel::ReleaseUnique(std::uint64_t unique) {
  const bool found = slots_.With([&](Slots& slots) {
    const auto armed = slots.armed.find(unique);
    if (armed == slots.armed.end()) return false;
    const std::uint32_t slot = armed->second;
    slots.armed.erase(armed);
    if (state_.Header().replays[slot] != 0 && slots.replaying > 0) --slots.replaying;
    ClearSlot(slot);
    slots.free.push_back(slot);
    return true;
  });
  if (found) slots_.Notify();
}

bool DeviceChannel::HandledHere(const RequestHeader& request) const {
  switch (static_cast<Opcode>(request.opcode)) {
    case Opcode::kForget:  // ids are never reused, so nothing is counted
    case Opcode::kBatchForget:
      return true;
    case Opcode::kInterrupt:
      // A read is not cut short by a signal, as on a local disk. The kernel stops asking.
      ReplyError(request.unique, ENOSYS);
      return true;
    case Opcode::kInit:
    case Opcode::kOpen:
    case Opcode::kMakeDirectory:
    case Opcode::kRemoveDirectory:
    case Opcode::kRename:
    case Opcode::kRename2:
    case Opcode::kWrite:
    case Opcode::kCreate:
      break;
  }
  return false;
}

void DeviceChannel::ReplyError(std::uint64_t unique, int error) const {
  const ReplyHeader reply = {.length = sizeof(ReplyHeader), .error = -error, .unique = unique};
  (void)!::write(device_, &reply, sizeof(reply));
}

ssize_t DeviceChannel::ReadRequest(void* buffer, std::size_t size) {
  std::uint32_t slot = 0;
  while (AcquireSlot(slot)) {
    // The kernel fills the journal itself: no moment at which nobody knows the request. Of a write,
    // whose bytes nobody repeats, it gets the beginning, and the buffer the rest.
    auto* const out = static_cast<std::byte*>(buffer);
    const std::size_t in_slot = std::min(size, kSlotBytes);
    const iovec pieces[2] = {{state_.Slot(slot).data(), in_slot}, {out + in_slot, size - in_slot}};
    const ssize_t n = ::readv(device_, pieces, 2);
    if (n < 0) {
      const int error = errno;
      ReleaseSlot(slot);
      return FailWith(error);
    }
    const RequestHeader request = Header(slot);
    if (static_cast<std::size_t>(n) < sizeof(RequestHeader) || HandledHere(request)) {
      ReleaseSlot(slot);
      continue;
    }
    slots_.With([&](Slots& slots) { slots.armed[request.unique] = slot; });
    std::memcpy(buffer, state_.Slot(slot).data(), std::min(static_cast<std::size_t>(n), in_slot));
    return n;
  }
  return FailWith(EINTR);
}

ssize_t DeviceChannel::Write(const iovec* pieces, int count) {
  ReplyHeader reply;
  if (count < 1 || pieces[0].iov_len < sizeof(reply)) return FailWith(EINVAL);
  std::memcpy(&reply, pieces[0].iov_base, sizeof(reply));
  if (!init_answered_ && reply.unique == init_unique_) return WriteInit(pieces, count);
  const ssize_t n = ::writev(device_, pieces, count);
  if (reply.unique == 0) return n;  // a notification
  const int error = errno;
  ReleaseUnique(reply.unique);
  // ENOENT: the predecessor's answer got through, or the caller is gone.
  if (n < 0 && error == ENOENT) return static_cast<ssize_t>(TotalBytes(pieces, count));
  errno = error;
  return n;
}

}  // namespace sluice::fuse_client
