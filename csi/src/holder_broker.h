// FuseBroker by the kernel and the descriptor holder of this process.
#pragma once

#include <sys/types.h>

#include <optional>

#include "sluice/broker/holder.h"
#include "sluice/csi/fuse_broker.h"

namespace sluice::csi {

class HolderBroker final : public FuseBroker {
 public:
  // `client_uid`: the only uid that may have descriptors; empty: the holder's own rule.
  HolderBroker(broker::Holder& holder, std::optional<uid_t> client_uid);

  Status Attach(const FuseAttachment& attachment) override;
  Status Adopt(const FuseAttachment& attachment) override;
  Status Release(const std::string& id) override;
  Status Discard(const std::string& directory) override;
  Result<FuseClientState> State(const std::string& id) override;
  Status WaitReady(const std::string& id, std::chrono::steady_clock::time_point deadline) override;

 private:
  broker::ConnectionSpec SpecOf(const FuseAttachment& attachment) const;

  broker::Holder& holder_;
  std::optional<uid_t> client_uid_;
};

}  // namespace sluice::csi
