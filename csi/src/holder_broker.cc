#include "holder_broker.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "sluice/core/names.h"
#include "sluice/platform/mount.h"

namespace sluice::csi {

HolderBroker::HolderBroker(broker::Holder& holder, std::optional<uid_t> client_uid)
    : holder_(holder), client_uid_(client_uid) {}

broker::ConnectionSpec HolderBroker::SpecOf(const FuseAttachment& attachment) const {
  broker::ConnectionSpec spec;
  spec.id = attachment.id;
  spec.directory = attachment.directory;
  spec.mount_point = attachment.mount_point;
  spec.client_uid = client_uid_;
  return spec;
}

Status HolderBroker::Attach(const FuseAttachment& attachment) {
  platform::FuseMountOptions mount_options;
  mount_options.read_only = attachment.read_only;
  SLUICE_TRY(device, platform::MountFuse(attachment.mount_point, mount_options), "mount FUSE");
  broker::ConnectionSpec spec = SpecOf(attachment);
  spec.device = std::move(device);
  if (Status added = holder_.Add(std::move(spec)); !added) {
    (void)platform::UnmountAll(attachment.mount_point, /*detach=*/true);
    return Fail(added.error().Wrap("offer the descriptor of " + attachment.mount_point));
  }
  return Ok();
}

Status HolderBroker::Adopt(const FuseAttachment& attachment) {
  return holder_.Add(SpecOf(attachment));
}

Status HolderBroker::Release(const std::string& id) {
  Status removed = holder_.Remove(id);
  if (!removed && removed.error().code == Code::kNotFound) return Ok();
  return removed;
}

// The directory is ours alone and flat: what is left in it is a socket of an earlier process.
Status HolderBroker::Discard(const std::string& directory) {
  const std::filesystem::path path(directory);
  std::error_code error;
  std::filesystem::remove(path / names::kBrokerSocket, error);
  if (!error) std::filesystem::remove(path, error);
  if (error) return Fail(Code::kInternal, "remove " + directory + ": " + error.message());
  return Ok();
}

Result<FuseClientState> HolderBroker::State(const std::string& id) {
  SLUICE_TRY(status, holder_.Get(id), "descriptor holder");
  FuseClientState state;
  state.has_device = status.has_device;
  state.client_connected = status.client_connected;
  state.ready = status.ready;
  state.last_error = status.last_error;
  state.last_error_code = status.last_error_code;
  return state;
}

Status HolderBroker::WaitReady(const std::string& id,
                               std::chrono::steady_clock::time_point deadline) {
  return holder_.WaitReady(id, deadline);
}

}  // namespace sluice::csi
