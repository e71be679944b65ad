// Passthrough's backing files, registered by ourselves or by the holder.
#pragma once

#include <atomic>

#include "sluice/broker/client.h"

#include "device_channel.h"
#include "file_system.h"

namespace sluice::fuse_client {

class KernelBackingFiles final : public BackingFiles {
 public:
  // With a null `client` this process asks the kernel itself, which takes CAP_SYS_ADMIN. All must
  // outlive this.
  KernelBackingFiles(int device, broker::Client* client, const DeviceChannel& channel,
                     const platform::Log& log);

  Result<std::int32_t> Register(std::uint64_t node_id, int file) override;
  void Unregister(std::int32_t backing_id) override;

 private:
  int device_;
  broker::Client* client_;
  const DeviceChannel& channel_;
  const platform::Log& log_;
  std::atomic<bool> refused_ = false;
};

}  // namespace sluice::fuse_client
