// The client's end of /dev/fuse: what libfuse's read and write go through.
//
// Every request is read into a slot of the state file and stays there until it is answered, so a
// successor finds what its killed predecessor owed (docs/fuse-state.md). INIT is exchanged with the
// kernel once per mount; later processes are fed the saved bytes and their reply is swallowed.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/platform/unique_fd.h"

#include "open_table.h"
#include "state_file.h"
#include "wire.h"

namespace sluice::fuse_client {

// Threads: Read and Write from any.
class DeviceChannel {
 public:
  DeviceChannel(int device, StateFile& state, const InitPolicy& policy, platform::Metrics& metrics,
                const platform::Log& log);

  // As read(2) and writev(2): -1 and errno on failure. The first request is INIT; handle it before
  // any other thread calls.
  ssize_t Read(void* buffer, std::size_t size);
  ssize_t Write(const iovec* pieces, int count);

  // Read fails with EINTR from now on; threads inside need a signal.
  void Stop() { stopping_ = true; }
  // Of a request that was read and is not answered: the effect that its slot remembers.
  [[nodiscard]] RequestEffect EffectOf(std::uint64_t unique);
  // Whether the request was under way at the end of so many processes that it is not to be tried
  // again; only an open that was counted comes here, to be taken back and answered EIO.
  [[nodiscard]] bool GivenUp(std::uint64_t unique) const;
  // Requests read and not answered.
  [[nodiscard]] std::size_t InFlight() const;
  // Whether the negotiated connection can do passthrough.
  [[nodiscard]] bool Passthrough() const;

 private:
  struct Slots {
    std::vector<std::uint32_t> free;
    std::unordered_map<std::uint64_t, std::uint32_t> armed;  // unique -> slot
    std::deque<std::uint32_t> replay;                        // armed by the predecessor
    std::size_t replaying = 0;                               // of those, not answered yet
  };
  enum class Resend { kNotNeeded, kPending, kSending, kDone };

  ssize_t ReadInit(void* buffer, std::size_t size);
  ssize_t WriteInit(const iovec* pieces, int count);
  ssize_t ReadRequest(void* buffer, std::size_t size);
  ssize_t TakeReplay(void* buffer, std::size_t size);
  void FinishReplay();
  void AskForResend() const;
  bool AcquireSlot(std::uint32_t& slot);
  void ReleaseSlot(std::uint32_t slot);
  void ClearSlot(std::uint32_t slot);
  void ReleaseUnique(std::uint64_t unique);
  // True when the request needs no handler: it was dealt with here.
  [[nodiscard]] bool HandledHere(const RequestHeader& request) const;
  void ReplyError(std::uint64_t unique, int error) const;
  RequestHeader& Header(std::uint32_t slot);

  int device_;
  StateFile& state_;
  InitPolicy policy_;
  const platform::Log& log_;
  platform::Counter& replayed_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> init_read_ = false;
  std::uint64_t init_unique_ = 0;
  std::atomic<bool> init_answered_ = false;
  std::atomic<Resend> resend_ = Resend::kNotNeeded;
  mutable platform::Guarded<Slots> slots_;
};

}  // namespace sluice::fuse_client
