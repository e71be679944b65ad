// The kernel's requests, translated by libfuse's low-level API into calls of the file system; only
// binding.cc and binding_write.cc know libfuse.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>

#include "sluice/core/fuse_config.h"
#include "sluice/core/result.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"

#include "device_channel.h"
#include "file_system.h"
#include "writing.h"

struct fuse_req;

namespace sluice::fuse_client {

// The errno for an application; everything the origin did not answer is EIO.
int ErrnoOf(Code code);

struct WriteSide;

struct BindingOptions {
  unsigned workers = 2;
  std::chrono::seconds entry_timeout{60};  // how long the kernel trusts names and attributes
  Appearance appearance{};
  Writing* writing = nullptr;  // null: every change is refused with EROFS
};

// Start and Stop are one thread's; Invalidate may be called from any.
class Binding {
 public:
  Binding(const BindingOptions& options, FileSystem& files, DeviceChannel& channel,
          platform::Metrics& metrics, const platform::Log& log);
  // Stop(). The reader that the file system reads from must have gone between Stop() and this: its
  // callbacks answer through the binding, and a sent answer is not yet a callback that has
  // returned.
  ~Binding();

  // Exchanges or replays INIT, then serves on its own threads. `on_end` is called once, from one of
  // them, when the connection has ended (unmounted or aborted).
  Status Start(std::function<void()> on_end);
  // Stops reading, waits up to `drain` for what is in flight, and joins. Errors of reads that end
  // after this are not sent: the successor answers those.
  void Stop(std::chrono::milliseconds drain);

  // Makes the kernel forget these entries, and the listings and attributes of their directories.
  void Invalidate(std::span<const IndexChange> changes);

 private:
  struct Impl;
  friend struct BindingOperations;  // libfuse's table of functions
  friend const WriteSide& WriteSideOf(fuse_req* request);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::fuse_client
