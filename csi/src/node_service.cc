#include "services.h"

namespace sluice::csi {
namespace {

bool IsReaderOnly(const ::csi::v1::VolumeCapability& capability) {
  using Mode = ::csi::v1::VolumeCapability::AccessMode;
  const auto mode = capability.access_mode().mode();
  return mode == Mode::MULTI_NODE_READER_ONLY || mode == Mode::SINGLE_NODE_READER_ONLY;
}

// NodeStage and NodePublish requests have these fields in common.
template <typename Request>
RawVolume RawVolumeOf(const Request& request) {
  RawVolume raw;
  raw.volume_id = request.volume_id();
  raw.attributes = {request.volume_context().begin(), request.volume_context().end()};
  raw.has_capability = request.has_volume_capability();
  raw.block = request.volume_capability().has_block();
  raw.reader_only = IsReaderOnly(request.volume_capability());
  const auto& flags = request.volume_capability().mount().mount_flags();
  raw.mount_flags = {flags.begin(), flags.end()};
  return raw;
}

Status RequireVolumeId(const std::string& id) {
  return id.empty() ? Fail(Code::kInvalidArgument, "volume_id is missing") : Ok();
}

Status RequireStagingPath(const std::string& path, const std::string& id) {
  if (!path.empty()) return Ok();
  return Fail(Code::kInvalidArgument, "volume " + id + ": staging_target_path is missing");
}

Result<TargetPath> TargetOf(const std::string& path, const std::string& id,
                            const std::string& kubelet_root) {
  if (path.empty()) {
    return Fail(Code::kInvalidArgument, "volume " + id + ": target_path is missing");
  }
  SLUICE_TRY(target, ParseTargetPath(path, kubelet_root), "volume " + id);
  return target;
}

}  // namespace

grpc::Status NodeService::NodeStageVolume(grpc::ServerContext* context,
                                          const ::csi::v1::NodeStageVolumeRequest* request,
                                          ::csi::v1::NodeStageVolumeResponse*) {
  return runner_.Run("NodeStageVolume", request->volume_id(), [&]() -> Status {
    SLUICE_CHECK(RequireVolumeId(request->volume_id()), "request");
    SLUICE_CHECK(RequireStagingPath(request->staging_target_path(), request->volume_id()),
                 "request");
    SLUICE_TRY(volume, ParseVolume(RawVolumeOf(*request), rules_), "stage");
    return plane_.Stage(volume, DeadlineOf(*context));
  });
}

grpc::Status NodeService::NodeUnstageVolume(grpc::ServerContext* context,
                                            const ::csi::v1::NodeUnstageVolumeRequest* request,
                                            ::csi::v1::NodeUnstageVolumeResponse*) {
  return runner_.Run("NodeUnstageVolume", request->volume_id(), [&]() -> Status {
    SLUICE_CHECK(RequireVolumeId(request->volume_id()), "request");
    SLUICE_CHECK(RequireStagingPath(request->staging_target_path(), request->volume_id()),
                 "request");
    return plane_.Unstage(request->volume_id(), DeadlineOf(*context));
  });
}

grpc::Status NodeService::NodePublishVolume(grpc::ServerContext* context,
                                            const ::csi::v1::NodePublishVolumeRequest* request,
                                            ::csi::v1::NodePublishVolumeResponse*) {
  return runner_.Run("NodePublishVolume", request->volume_id(), [&]() -> Status {
    SLUICE_CHECK(RequireVolumeId(request->volume_id()), "request");
    SLUICE_TRY(target, TargetOf(request->target_path(), request->volume_id(), kubelet_root_),
               "publish");
    RawVolume raw = RawVolumeOf(*request);
    raw.readonly_flag = request->readonly();
    SLUICE_TRY(volume, ParseVolume(raw, rules_), "publish");
    return plane_.Publish(volume, target, DeadlineOf(*context));
  });
}

grpc::Status NodeService::NodeUnpublishVolume(grpc::ServerContext* context,
                                              const ::csi::v1::NodeUnpublishVolumeRequest* request,
                                              ::csi::v1::NodeUnpublishVolumeResponse*) {
  return runner_.Run("NodeUnpublishVolume", request->volume_id(), [&]() -> Status {
    SLUICE_CHECK(RequireVolumeId(request->volume_id()), "request");
    SLUICE_TRY(target, TargetOf(request->target_path(), request->volume_id(), kubelet_root_),
               "unpublish");
    return plane_.Unpublish(request->volume_id(), target, DeadlineOf(*context));
  });
}

grpc::Status NodeService::NodeGetCapabilities(grpc::ServerContext*,
                                              const ::csi::v1::NodeGetCapabilitiesRequest*,
                                              ::csi::v1::NodeGetCapabilitiesResponse* response) {
  response->add_capabilities()->mutable_rpc()->set_type(
      ::csi::v1::NodeServiceCapability::RPC::STAGE_UNSTAGE_VOLUME);
  return grpc::Status::OK;
}

grpc::Status NodeService::NodeGetInfo(grpc::ServerContext*, const ::csi::v1::NodeGetInfoRequest*,
                                      ::csi::v1::NodeGetInfoResponse* response) {
  response->set_node_id(node_name_);
  return grpc::Status::OK;
}

}  // namespace sluice::csi
