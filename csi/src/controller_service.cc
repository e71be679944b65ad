#include <fmt/format.h>

#include "services.h"

namespace sluice::csi {
namespace {

constexpr std::size_t kMaxRemembered = 4096;

template <typename Capabilities>
Status CheckCapabilities(const Capabilities& capabilities, const std::string& volume) {
  if (capabilities.empty()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("volume \"{}\": volume_capabilities are missing", volume));
  }
  for (const auto& capability : capabilities) {
    if (capability.has_block()) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("volume \"{}\": a dataset is a file system, volumeMode Block is not "
                              "possible",
                              volume));
    }
  }
  return Ok();
}

}  // namespace

void ControllerService::Remember(const std::string& id) {
  created_.With([&](Created& created) {
    if (!created.ids.insert(id).second) return;
    created.order.push_back(id);
    if (created.order.size() <= kMaxRemembered) return;
    created.ids.erase(created.order.front());
    created.order.pop_front();
  });
}

Result<bool> ControllerService::Exists(const std::string& id) {
  if (created_.With([&](const Created& created) { return created.ids.contains(id); })) return true;
  return cluster_.VolumeExists(id);
}

grpc::Status ControllerService::CreateVolume(grpc::ServerContext*,
                                             const ::csi::v1::CreateVolumeRequest* request,
                                             ::csi::v1::CreateVolumeResponse* response) {
  return runner_.Run("CreateVolume", request->name(), [&]() -> Status {
    if (request->name().empty()) return Fail(Code::kInvalidArgument, "name is missing");
    SLUICE_CHECK(CheckCapabilities(request->volume_capabilities(), request->name()), "create");
    ::csi::v1::Volume* volume = response->mutable_volume();
    volume->set_volume_id(VolumeIdFor(request->name()));
    *volume->mutable_volume_context() = request->parameters();
    Remember(volume->volume_id());
    return Ok();
  });
}

grpc::Status ControllerService::DeleteVolume(grpc::ServerContext*,
                                             const ::csi::v1::DeleteVolumeRequest* request,
                                             ::csi::v1::DeleteVolumeResponse*) {
  return runner_.Run("DeleteVolume", request->volume_id(), [&]() -> Status {
    if (request->volume_id().empty()) return Fail(Code::kInvalidArgument, "volume_id is missing");
    created_.With([&](Created& created) {
      created.ids.erase(request->volume_id());
      std::erase(created.order, request->volume_id());
    });
    return Ok();
  });
}

grpc::Status ControllerService::ValidateVolumeCapabilities(
    grpc::ServerContext*, const ::csi::v1::ValidateVolumeCapabilitiesRequest* request,
    ::csi::v1::ValidateVolumeCapabilitiesResponse* response) {
  return runner_.Run("ValidateVolumeCapabilities", request->volume_id(), [&]() -> Status {
    const std::string& id = request->volume_id();
    if (id.empty()) return Fail(Code::kInvalidArgument, "volume_id is missing");
    if (request->volume_capabilities().empty()) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("volume \"{}\": volume_capabilities are missing", id));
    }
    SLUICE_TRY(exists, Exists(id), "volume " + id);
    if (!exists) return Fail(Code::kNotFound, fmt::format("volume \"{}\" does not exist", id));
    if (Status fits = CheckCapabilities(request->volume_capabilities(), id); !fits) {
      response->set_message(fits.error().message);
      return Ok();
    }
    auto* confirmed = response->mutable_confirmed();
    *confirmed->mutable_volume_context() = request->volume_context();
    *confirmed->mutable_volume_capabilities() = request->volume_capabilities();
    *confirmed->mutable_parameters() = request->parameters();
    return Ok();
  });
}

grpc::Status ControllerService::ControllerGetCapabilities(
    grpc::ServerContext*, const ::csi::v1::ControllerGetCapabilitiesRequest*,
    ::csi::v1::ControllerGetCapabilitiesResponse* response) {
  response->add_capabilities()->mutable_rpc()->set_type(
      ::csi::v1::ControllerServiceCapability::RPC::CREATE_DELETE_VOLUME);
  return grpc::Status::OK;
}

}  // namespace sluice::csi
