#include "sluice/core/engine_profile.h"
#include "sluice/core/names.h"

namespace sluice {
namespace {

// The CSI plugin has mounted and keeps the descriptor; this pod only serves it, so it needs
// neither privilege nor a host path but the broker's socket.
constexpr const char* kNodeClient = R"json({
  "metadata": {
    "annotations": {"sidecar.istio.io/inject": "false"},
    "labels": {"sidecar.istio.io/inject": "false"}
  },
  "spec": {
    "automountServiceAccountToken": false,
    "enableServiceLinks": false,
    "terminationGracePeriodSeconds": 30,
    "nodeSelector": {"${fuseLabel}": "true"},
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
      "nodeSelectorTerms": [{"matchExpressions": [
        {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]}]}]}}},
    "tolerations": [{"operator": "Exists"}],
    "securityContext": {
      "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534,
      "seccompProfile": {"type": "RuntimeDefault"}
    },
    "containers": [{
      "name": "sluice-fuse",
      "command": ["/usr/bin/sluice-fuse"],
      "args": ["--config=/etc/fluid/config/config.json", "--broker=/run/sluice-broker/s",
               "--metrics=:9568"],
      "env": [
        {"name": "FLUID_RUNTIME_TYPE", "value": "${type}"},
        {"name": "FLUID_RUNTIME_NS", "value": "${namespace}"},
        {"name": "FLUID_RUNTIME_NAME", "value": "${name}"}
      ],
      "ports": [{"name": "metrics", "containerPort": 9568, "protocol": "TCP"}],
      "livenessProbe": {"httpGet": {"path": "/healthz", "port": 9568}, "periodSeconds": 10,
                        "timeoutSeconds": 5, "failureThreshold": 6},
      "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9568}, "periodSeconds": 5,
                         "timeoutSeconds": 5},
      "securityContext": {
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true
      },
      "volumeMounts": [
        {"name": "sluice-broker", "mountPath": "/run/sluice-broker", "readOnly": true},
        {"name": "sluice-tmp", "mountPath": "/tmp"},
        {"name": "sluice-config", "mountPath": "/etc/fluid/config", "readOnly": true}
      ]
    }],
    "volumes": [
      {"name": "sluice-broker",
       "hostPath": {"path": "${brokerDirectory}", "type": "DirectoryOrCreate"}},
      {"name": "sluice-tmp", "emptyDir": {"sizeLimit": "64Mi"}},
      {"name": "sluice-config", "configMap": {
        "name": "${configMap}", "items": [{"key": "config.json", "path": "config.json"},
                                          {"key": "workers.json", "path": "workers.json"}],
        "defaultMode": 292}}
    ]
  }
})json";

// No plugin on the node: the container mounts for itself and must propagate the mount to the
// application, which Kubernetes allows privileged containers only.
constexpr const char* kSidecar = R"json({
  "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
  "spec": {
    "automountServiceAccountToken": false,
    "enableServiceLinks": false,
    "terminationGracePeriodSeconds": 30,
    "containers": [{
      "name": "sluice-fuse",
      "command": ["/usr/bin/sluice-fuse"],
      "args": ["--config=/etc/fluid/config/config.json", "--mount=${mountPath}",
               "--start-timeout=0", "--metrics=:9568", "--metrics=unix:/tmp/client.sock"],
      "terminationMessagePolicy": "FallbackToLogsOnError",
      "env": [
        {"name": "FLUID_RUNTIME_TYPE", "value": "${type}"},
        {"name": "FLUID_RUNTIME_NS", "value": "${namespace}"},
        {"name": "FLUID_RUNTIME_NAME", "value": "${name}"}
      ],
      "startupProbe": {"exec": {"command": ["/usr/bin/sluice-fuse", "--check=${mountPath}",
                                            "--metrics=unix:/tmp/client.sock"]},
                       "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 120},
      "securityContext": {"privileged": true, "runAsNonRoot": false, "runAsUser": 0,
                          "runAsGroup": 0, "readOnlyRootFilesystem": true},
      "volumeMounts": [
        {"name": "sluice-fuse-mount", "mountPath": "${mountDirectory}",
         "mountPropagation": "Bidirectional"},
        {"name": "sluice-fuse-device", "mountPath": "/dev/fuse"},
        {"name": "sluice-tmp", "mountPath": "/tmp"},
        {"name": "sluice-config", "mountPath": "/etc/fluid/config", "readOnly": true}
      ]
    }],
    "volumes": [
      {"name": "sluice-fuse-mount",
       "hostPath": {"path": "${mountDirectory}", "type": "DirectoryOrCreate"}},
      {"name": "sluice-fuse-device", "hostPath": {"path": "/dev/fuse", "type": "CharDevice"}},
      {"name": "sluice-tmp", "emptyDir": {"sizeLimit": "64Mi"}},
      {"name": "sluice-config", "configMap": {
        "name": "${configMap}", "items": [{"key": "config.json", "path": "config.json"},
                                          {"key": "workers.json", "path": "workers.json"}],
        "defaultMode": 292}}
    ]
  }
})json";

// Stock memcached as its image's own user. It asks the API server nothing and writes nowhere but to
// the volumes of its disk tier, so that namespaces with restricted Pod Security admit it.
constexpr const char* kWorker = R"json({
  "metadata": {
    "annotations": {"sidecar.istio.io/inject": "false"},
    "labels": {"sidecar.istio.io/inject": "false"}
  },
  "spec": {
    "automountServiceAccountToken": false,
    "enableServiceLinks": false,
    "terminationGracePeriodSeconds": 10,
    "securityContext": {
      "runAsNonRoot": true, "runAsUser": 11211, "runAsGroup": 11211, "fsGroup": 11211,
      "seccompProfile": {"type": "RuntimeDefault"}
    },
    "containers": [{
      "name": "memcached",
      "command": ["memcached"],
      "ports": [{"name": "memcached", "containerPort": 11211, "protocol": "TCP"}],
      "livenessProbe": {"tcpSocket": {"port": "memcached"}, "periodSeconds": 10,
                        "timeoutSeconds": 5, "failureThreshold": 6},
      "readinessProbe": {"tcpSocket": {"port": "memcached"}, "periodSeconds": 5,
                         "timeoutSeconds": 2, "failureThreshold": 2},
      "securityContext": {
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true
      }
    }]
  }
})json";

}  // namespace

const EngineProfile& NativeProfile() {
  static const EngineProfile kProfile{
      .runtime = resources::kSluiceRuntime,
      .type = std::string(names::kSluiceRuntimeType),
      .mount_leaf = "sluice-fuse",
      .mount_type = std::string(names::kSluiceMountType),
      .app = "sluice",
      .finalizer = "sluice-runtime-controller-finalizer",
      .cache_path = "/cache",
      .config_suffix = "-fuse-config",
      .node_client = Json::parse(kNodeClient),
      .sidecar = Json::parse(kSidecar),
      .worker = Json::parse(kWorker),
  };
  return kProfile;
}

}  // namespace sluice
