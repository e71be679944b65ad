#include "backing_files.h"

#include "sluice/broker/backing.h"

namespace sluice::fuse_client {

KernelBackingFiles::KernelBackingFiles(int device, broker::Client* client,
                                       const DeviceChannel& channel, const platform::Log& log)
    : device_(device), client_(client), channel_(channel), log_(log) {}

Result<std::int32_t> KernelBackingFiles::Register(std::uint64_t node_id, int file) {
  if (refused_ || !channel_.Passthrough()) {
    return Fail(Code::kUnavailable, "passthrough is not to be had here");
  }
  auto id = client_ != nullptr ? client_->BackingOpen(node_id, file)
                               : broker::RegisterBackingFile(device_, file);
  if (!id && id.error().code == Code::kPermissionDenied && !refused_.exchange(true)) {
    log_.Info("no passthrough: the privilege is missing", {{"error", id.error().message}});
  }
  return id;
}

void KernelBackingFiles::Unregister(std::int32_t backing_id) {
  const Status closed = client_ != nullptr ? client_->BackingClose(backing_id)
                                           : broker::UnregisterBackingFile(device_, backing_id);
  if (!closed) {
    log_.Debug("backing file not closed", {{"error", closed.error().message}});
  }
}

}  // namespace sluice::fuse_client
