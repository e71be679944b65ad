// FuseBroker by the kernel and the descriptor holder of this process.
#pragma once

#include <sys/types.h>

#include <optional>

#include "sluice/broker/holder.h"
#include "sluice/csi/fuse_broker.h"
#include "sluice/platform/log.h"

namespace sluice::csi {

struct HolderBrokerOptions {
  std::optional<uid_t> client_uid;  // the only uid that may have descriptors
  unsigned read_ahead_kb = 8192;    // 0: the kernel's default
};

class HolderBroker final : public FuseBroker {
 public:
  HolderBroker(broker::Holder& holder, HolderBrokerOptions options, platform::Log log);

  Status Attach(const FuseAttachment& attachment) override;
  Status Adopt(const FuseAttachment& attachment) override;
  Status Release(const std::string& id) override;
  Status Discard(const std::string& directory) override;
  Result<FuseClientState> State(const std::string& id) override;
  Status WaitReady(const std::string& id, std::chrono::steady_clock::time_point deadline) override;

 private:
  broker::ConnectionSpec SpecOf(const FuseAttachment& attachment) const;
  void TuneReadAhead(const std::string& mount_point) const;

  broker::Holder& holder_;
  HolderBrokerOptions options_;
  platform::Log log_;
};

}  // namespace sluice::csi
