#include "sluice/core/names.h"

#include "services.h"

namespace sluice::csi {

grpc::Status IdentityService::GetPluginInfo(grpc::ServerContext*,
                                            const ::csi::v1::GetPluginInfoRequest*,
                                            ::csi::v1::GetPluginInfoResponse* response) {
  response->set_name(std::string(names::kCsiDriver));
  response->set_vendor_version(kPluginVersion);
  return grpc::Status::OK;
}

grpc::Status IdentityService::GetPluginCapabilities(
    grpc::ServerContext*, const ::csi::v1::GetPluginCapabilitiesRequest*,
    ::csi::v1::GetPluginCapabilitiesResponse* response) {
  response->add_capabilities()->mutable_service()->set_type(
      ::csi::v1::PluginCapability::Service::CONTROLLER_SERVICE);
  return grpc::Status::OK;
}

grpc::Status IdentityService::Probe(grpc::ServerContext*, const ::csi::v1::ProbeRequest*,
                                    ::csi::v1::ProbeResponse* response) {
  response->mutable_ready()->set_value(ready_());
  return grpc::Status::OK;
}

}  // namespace sluice::csi
