// The gRPC services: thin translations into the node plane.
#pragma once

#include <deque>
#include <functional>
#include <set>
#include <string>

#include "sluice/csi/cluster_view.h"
#include "sluice/csi/node_plane.h"
#include "sluice/platform/guarded.h"

#include "csi.grpc.pb.h"
#include "pluginregistration.grpc.pb.h"
#include "rpc.h"

namespace sluice::csi {

inline constexpr const char* kPluginVersion = "1.0.0";

class IdentityService final : public ::csi::v1::Identity::Service {
 public:
  // `ready` answers Probe.
  explicit IdentityService(std::function<bool()> ready) : ready_(std::move(ready)) {}

  grpc::Status GetPluginInfo(grpc::ServerContext* context,
                             const ::csi::v1::GetPluginInfoRequest* request,
                             ::csi::v1::GetPluginInfoResponse* response) override;
  grpc::Status GetPluginCapabilities(grpc::ServerContext* context,
                                     const ::csi::v1::GetPluginCapabilitiesRequest* request,
                                     ::csi::v1::GetPluginCapabilitiesResponse* response) override;
  grpc::Status Probe(grpc::ServerContext* context, const ::csi::v1::ProbeRequest* request,
                     ::csi::v1::ProbeResponse* response) override;

 private:
  std::function<bool()> ready_;
};

// Volumes are made by the dataset controller; creating one here gives it a name and nothing else.
class ControllerService final : public ::csi::v1::Controller::Service {
 public:
  ControllerService(ClusterView& cluster, const CallRunner& runner)
      : cluster_(cluster), runner_(runner) {}

  grpc::Status CreateVolume(grpc::ServerContext* context,
                            const ::csi::v1::CreateVolumeRequest* request,
                            ::csi::v1::CreateVolumeResponse* response) override;
  grpc::Status DeleteVolume(grpc::ServerContext* context,
                            const ::csi::v1::DeleteVolumeRequest* request,
                            ::csi::v1::DeleteVolumeResponse* response) override;
  grpc::Status ValidateVolumeCapabilities(
      grpc::ServerContext* context, const ::csi::v1::ValidateVolumeCapabilitiesRequest* request,
      ::csi::v1::ValidateVolumeCapabilitiesResponse* response) override;
  grpc::Status ControllerGetCapabilities(
      grpc::ServerContext* context, const ::csi::v1::ControllerGetCapabilitiesRequest* request,
      ::csi::v1::ControllerGetCapabilitiesResponse* response) override;

 private:
  // Created here and not yet a PersistentVolume; the oldest is forgotten beyond a bound.
  struct Created {
    std::set<std::string> ids;
    std::deque<std::string> order;
  };
  void Remember(const std::string& id);
  Result<bool> Exists(const std::string& id);

  ClusterView& cluster_;
  const CallRunner& runner_;
  platform::Guarded<Created> created_;
};

class NodeService final : public ::csi::v1::Node::Service {
 public:
  NodeService(NodePlane& plane, const CallRunner& runner, std::string node_name,
              std::string kubelet_root, VolumeRules rules)
      : plane_(plane),
        runner_(runner),
        node_name_(std::move(node_name)),
        kubelet_root_(std::move(kubelet_root)),
        rules_(std::move(rules)) {}

  grpc::Status NodeStageVolume(grpc::ServerContext* context,
                               const ::csi::v1::NodeStageVolumeRequest* request,
                               ::csi::v1::NodeStageVolumeResponse* response) override;
  grpc::Status NodeUnstageVolume(grpc::ServerContext* context,
                                 const ::csi::v1::NodeUnstageVolumeRequest* request,
                                 ::csi::v1::NodeUnstageVolumeResponse* response) override;
  grpc::Status NodePublishVolume(grpc::ServerContext* context,
                                 const ::csi::v1::NodePublishVolumeRequest* request,
                                 ::csi::v1::NodePublishVolumeResponse* response) override;
  grpc::Status NodeUnpublishVolume(grpc::ServerContext* context,
                                   const ::csi::v1::NodeUnpublishVolumeRequest* request,
                                   ::csi::v1::NodeUnpublishVolumeResponse* response) override;
  grpc::Status NodeGetCapabilities(grpc::ServerContext* context,
                                   const ::csi::v1::NodeGetCapabilitiesRequest* request,
                                   ::csi::v1::NodeGetCapabilitiesResponse* response) override;
  grpc::Status NodeGetInfo(grpc::ServerContext* context,
                           const ::csi::v1::NodeGetInfoRequest* request,
                           ::csi::v1::NodeGetInfoResponse* response) override;

 private:
  NodePlane& plane_;
  const CallRunner& runner_;
  std::string node_name_;
  std::string kubelet_root_;
  VolumeRules rules_;
};

// How the kubelet finds the plugin, and tells whether it took it.
class RegistrationService final : public ::pluginregistration::Registration::Service {
 public:
  RegistrationService(std::string endpoint, platform::Log log, platform::Metrics& metrics);

  grpc::Status GetInfo(grpc::ServerContext* context,
                       const ::pluginregistration::InfoRequest* request,
                       ::pluginregistration::PluginInfo* response) override;
  grpc::Status NotifyRegistrationStatus(
      grpc::ServerContext* context, const ::pluginregistration::RegistrationStatus* request,
      ::pluginregistration::RegistrationStatusResponse* response) override;

  // Empty once the kubelet has accepted the plugin, else why not.
  [[nodiscard]] std::string Fault() const;

 private:
  std::string endpoint_;
  platform::Log log_;
  platform::Gauge& registered_;
  platform::Guarded<std::string> fault_;
};

}  // namespace sluice::csi
