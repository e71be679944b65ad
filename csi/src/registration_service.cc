#include <utility>

#include "sluice/core/names.h"

#include "services.h"

namespace sluice::csi {

RegistrationService::RegistrationService(std::string endpoint, platform::Log log,
                                         platform::Metrics& metrics)
    : endpoint_(std::move(endpoint)),
      log_(std::move(log)),
      registered_(
          metrics.AddGauge("sluice_csi_registered", "1 while the kubelet has accepted the plugin")),
      fault_(std::string("the kubelet has not asked for the plugin yet")) {}

grpc::Status RegistrationService::GetInfo(grpc::ServerContext*,
                                          const ::pluginregistration::InfoRequest*,
                                          ::pluginregistration::PluginInfo* response) {
  response->set_type("CSIPlugin");
  response->set_name(std::string(names::kCsiDriver));
  response->set_endpoint(endpoint_);
  response->add_supported_versions(kPluginVersion);
  return grpc::Status::OK;
}

grpc::Status RegistrationService::NotifyRegistrationStatus(
    grpc::ServerContext*, const ::pluginregistration::RegistrationStatus* request,
    ::pluginregistration::RegistrationStatusResponse*) {
  const bool accepted = request->plugin_registered();
  registered_.Set(accepted ? 1 : 0);
  fault_.With([&](std::string& fault) {
    fault = accepted ? "" : "the kubelet refused the plugin: " + request->error();
  });
  if (accepted) {
    log_.Info("registered with the kubelet", {{"endpoint", endpoint_}});
  } else {
    log_.Error("the kubelet refused the plugin", {{"error", request->error()}});
  }
  return grpc::Status::OK;
}

std::string RegistrationService::Fault() const {
  return fault_.With([](const std::string& fault) { return fault; });
}

}  // namespace sluice::csi
