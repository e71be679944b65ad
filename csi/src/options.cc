#include "options.h"

#include <map>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "sluice/core/names.h"
#include "sluice/csi/target_path.h"

namespace sluice::csi {
namespace {

constexpr std::string_view kScheme = "unix://";

std::string DefaultEndpoint(const Options& options) {
  return options.kubelet_root + "/csi-plugins/" + std::string(names::kCsiDriver) + "/csi.sock";
}

// Flags of Fluid's plugin that have nothing to set here; operators' manifests pass them.
void AddForeignFlags(CLI::App& app, std::vector<std::string>& ignored) {
  for (const char* flag : {"--feature-gates", "--prune-fs", "--prune-path", "--pprof-addr",
                           "--kubelet-kube-config", "--v,-v"}) {
    app.add_option(flag, ignored, "accepted, without effect")->group("Compatibility");
  }
}

Status Complete(Options& options, std::string endpoint, const std::string& method) {
  for (auto [path, name] : {std::pair{&options.kubelet_root, "--kubelet-root"},
                            {&options.pod_logs, "--pod-logs"},
                            {&options.mount_root, "--mount-root"},
                            {&options.broker_root, "--broker-root"}}) {
    SLUICE_TRY(clean, CleanAbsolutePath(*path, name), "flag");
    *path = std::move(clean);
  }
  if (endpoint.starts_with(kScheme)) endpoint.erase(0, kScheme.size());
  if (endpoint.empty()) endpoint = DefaultEndpoint(options);
  SLUICE_TRY(path, CleanAbsolutePath(endpoint, "--endpoint"), "flag");
  options.endpoint = std::move(path);
  if (method == "symlink") options.publish_method = PublishMethod::kSymlink;
  return Ok();
}

}  // namespace

ParsedOptions ParseOptions(int argc, char** argv) {
  CLI::App app("The CSI node plugin of Sluice: mounts datasets and lends them to FUSE clients");
  Options options;
  std::string endpoint;
  std::string method;
  int client_uid = 65534;
  int recover_seconds = 60;
  int sweep_seconds = 10;
  std::vector<std::string> ignored;
  app.add_option("--nodeid", options.node_name, "name of this node")
      ->envname("NODE_ID")
      ->required();
  app.add_option("--endpoint", endpoint, "CSI socket, unix:///path")->envname("CSI_ENDPOINT");
  app.add_option("--metrics-addr", options.metrics_address, "/metrics, /healthz, /readyz");
  app.add_option("--kubelet-root", options.kubelet_root)->envname("KUBELET_ROOTDIR");
  app.add_option("--pod-logs", options.pod_logs, "the kubelet's podLogsDir: names of its pods");
  app.add_option("--mount-root", options.mount_root, "datasets are mounted below it")
      ->envname("MOUNT_ROOT");
  app.add_option("--broker-root", options.broker_root, "clients' sockets, on tmpfs");
  app.add_option("--kubeconfig", options.kubeconfig, "default: the pod's service account");
  app.add_option("--client-uid", client_uid, "uid of FUSE clients; -1: any")
      ->check(CLI::Range(-1, 0x7ffffffe));
  app.add_option("--node-publish-method", method, "bindMount or symlink")
      ->envname("NODEPUBLISH_METHOD")
      ->check(CLI::IsMember({"", "bindMount", "symlink"}));
  app.add_option("--recover-timeout", recover_seconds,
                 "seconds until a mount whose client does not come back is replaced")
      ->check(CLI::Range(1, 3600));
  app.add_option("--sweep-period", sweep_seconds, "seconds between looks for unused mounts")
      ->check(CLI::Range(1, 3600));
  const std::map<std::string, platform::LogLevel> levels = {{"debug", platform::LogLevel::kDebug},
                                                            {"info", platform::LogLevel::kInfo},
                                                            {"warn", platform::LogLevel::kWarn},
                                                            {"error", platform::LogLevel::kError}};
  app.add_option("--log-level", options.log_level)->transform(CLI::CheckedTransformer(levels));
  AddForeignFlags(app, ignored);
  try {
    app.parse(argc, argv);
    if (Status complete = Complete(options, endpoint, method); !complete) {
      throw CLI::ValidationError(complete.error().message);
    }
  } catch (const CLI::ParseError& error) {
    return {.options = std::nullopt, .exit_status = app.exit(error)};
  }
  options.client_uid =
      client_uid < 0 ? std::nullopt : std::optional<uid_t>(static_cast<uid_t>(client_uid));
  options.recover_timeout = std::chrono::seconds(recover_seconds);
  options.sweep_period = std::chrono::seconds(sweep_seconds);
  return {.options = std::move(options), .exit_status = 0};
}

}  // namespace sluice::csi
