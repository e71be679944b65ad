// sluice-csi: the only privileged program. Mounts datasets on ordinary nodes for the kubelet, and
// keeps the descriptors of their FUSE connections for unprivileged clients.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>
#include <thread>

#include "sluice/core/names.h"
#include "sluice/csi/leftover_directories.h"
#include "sluice/csi/living_pods.h"
#include "sluice/kube/client.h"
#include "sluice/kube/event_recorder.h"
#include "sluice/platform/http_endpoint.h"
#include "sluice/platform/pause.h"
#include "sluice/platform/safe_path.h"

#include "holder_broker.h"
#include "options.h"
#include "services.h"
#include "socket_server.h"
#include "system_mounter.h"

namespace sluice::csi {
namespace {

constexpr unsigned kPatientThreads = 16;
constexpr std::chrono::seconds kSweepTick{2};  // local facts; the cluster is asked less often
constexpr std::chrono::seconds kDrain{2};
constexpr std::size_t kMaxLabelsFile = 64 << 10;

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// True when a stop signal came within the time.
bool StopRequested(std::chrono::milliseconds wait) {
  const sigset_t signals = StopSignals();
  const timespec limit{.tv_sec = wait.count() / 1000, .tv_nsec = (wait.count() % 1000) * 1'000'000};
  return ::sigtimedwait(&signals, nullptr, &limit) > 0;
}

// <mount root>/<type>/<ns>/<name>/.meta/fuse/labels, a downward API file of the FUSE pod:
// key="value" lines.
std::string RunningGeneration(const std::string& mount_root, const MountSource& source) {
  const std::string directory = source.mount_point.substr(0, source.mount_point.rfind('/'));
  const Result<std::string> text =
      platform::ReadFileBeneath(mount_root, directory + "/.meta/fuse/labels", kMaxLabelsFile);
  const std::string key = "fuse.runtime.fluid.io/generation=\"";
  if (!text) return "";
  const std::size_t at = ("\n" + *text).find("\n" + key);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + key.size();
  return text->substr(begin, text->find('"', begin) - begin);
}

// Two plugins may be alive during an upgrade: the second waits until the first has gone.
Result<platform::UniqueFd> WaitForTurn(const std::string& broker_root, const platform::Log& log) {
  std::error_code error;
  std::filesystem::create_directories(broker_root, error);
  const std::string path = broker_root + "/lock";
  platform::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.Valid()) {
    return Fail(Code::kInternal,
                path + ": " + std::error_code(errno, std::generic_category()).message());
  }
  for (bool told = false; ::flock(file.Get(), LOCK_EX | LOCK_NB) != 0; told = true) {
    if (!told) log.Info("waiting for another plugin on this node to end", {{"lock", path}});
    if (StopRequested(std::chrono::milliseconds(500))) {
      return Fail(Code::kUnavailable, "stopped while waiting for " + path);
    }
  }
  return file;
}

void TellDataset(Cluster& cluster, kube::EventRecorder& recorder, const MountNotice& notice) {
  const Result<Json> dataset = cluster.Get(resources::kDataset, notice.source.runtime);
  if (!dataset) return;
  recorder.Record(*dataset,
                  {.type = notice.warning ? kube::EventType::kWarning : kube::EventType::kNormal,
                   .reason = notice.reason,
                   .message = notice.message});
}

void SweepUntil(const std::stop_token& stop, MountKeeper& keeper, LeftoverDirectories& leftovers,
                std::chrono::seconds period) {
  auto next_question = std::chrono::steady_clock::now() + period;
  while (platform::Pause(stop, std::min(kSweepTick, period))) {
    const bool ask = std::chrono::steady_clock::now() >= next_question;
    if (ask) next_question = std::chrono::steady_clock::now() + period;
    keeper.Sweep(ask);
    if (ask) leftovers.Sweep();
  }
}

void HealOrLog(SocketServer& server, const char* name, const platform::Log& log) {
  const Result<bool> healed = server.Heal();
  if (!healed) {
    log.Error("socket not served", {{"socket", name}, {"error", healed.error().message}});
  } else if (*healed) {
    log.Warn("socket had been removed, made again", {{"socket", name}});
  }
}

// What every part of the program needs.
struct Surroundings {
  const Options& options;
  const platform::Log& log;
  platform::Metrics& metrics;
  Cluster& cluster;
};

// What works on the mounts of this node.
struct Engines {
  Engines(const Surroundings& with, broker::Holder& holder)
      : rules{.mount_root = with.options.mount_root, .default_method = with.options.publish_method},
        paths{.kubelet_root = with.options.kubelet_root,
              .mount_root = with.options.mount_root,
              .broker_root = with.options.broker_root},
        recorder(with.cluster, std::string(names::kCsiDriver), clock, with.log, with.metrics),
        broker(holder, with.options.client_uid),
        view(with.cluster, with.options.node_name, rules),
        patient(std::make_unique<PatientCaller>(kPatientThreads, stopping->get_token())),
        registry(with.options.broker_root + "/state", with.log),
        keeper(
            {.paths = paths, .limits = {.recover_timeout = with.options.recover_timeout}},
            {.mounter = mounter,
             .broker = broker,
             .cluster = view,
             .patient = *patient,
             .registry = registry,
             .locks = locks,
             .clock = clock,
             .log = with.log,
             .metrics = with.metrics,
             .notify = [this, &cluster = with.cluster](
                           const MountNotice& notice) { TellDataset(cluster, recorder, notice); },
             .stop = stopping->get_token()}),
        plane({.node_name = with.options.node_name, .paths = paths},
              {.mounter = mounter,
               .broker = broker,
               .cluster = view,
               .patient = *patient,
               .registry = registry,
               .keeper = keeper,
               .locks = locks,
               .clock = clock,
               .log = with.log,
               .running_generation =
                   [this](const MountSource& source) {
                     return RunningGeneration(paths.mount_root, source);
                   },
               .stop = stopping->get_token()}),
        leftovers({.mount_root = with.options.mount_root,
                   .state_directory = with.options.broker_root + "/idle"},
                  {.mounter = mounter,
                   .clock = clock,
                   .log = with.log,
                   .pod_may_live = [places = LivingPods::Places{
                                        .kubelet_root = with.options.kubelet_root,
                                        .pod_logs = with.options.pod_logs}](std::string_view pod) {
                     return LivingPods::Find(places).MayHave(pod);
                   }}) {}

  const VolumeRules rules;
  const NodePaths paths;
  const SystemClock clock;
  kube::EventRecorder recorder;
  SystemMounter mounter;
  HolderBroker broker;
  ClusterView view;
  // Not in place: GCC 12 takes one there for uninitialized.
  const std::unique_ptr<std::stop_source> stopping = std::make_unique<std::stop_source>();
  std::unique_ptr<PatientCaller> patient;
  MountRegistry registry;
  NodeLocks locks;
  MountKeeper keeper;
  NodePlane plane;
  LeftoverDirectories leftovers;
};

// What the kubelet calls.
struct Services {
  Services(const Surroundings& with, Engines& engines)
      : log(with.log),
        runner(with.log, with.metrics),
        registration(with.options.endpoint, with.log, with.metrics),
        identity([] { return true; }),
        controller(engines.view, runner),
        node(engines.plane, runner, with.options.node_name, with.options.kubelet_root,
             engines.rules),
        csi_server(with.options.endpoint, {&identity, &controller, &node}),
        registration_server(with.options.kubelet_root + "/plugins_registry/" +
                                std::string(names::kCsiDriver) + "-reg.sock",
                            {&registration}) {}

  Status Start() {
    SLUICE_CHECK(csi_server.Start(), "CSI socket");
    return registration_server.Start();
  }
  void Heal() {
    HealOrLog(csi_server, "csi", log);
    HealOrLog(registration_server, "registration", log);
  }
  void Stop() {
    registration_server.Stop(std::chrono::system_clock::now());
    csi_server.Stop(std::chrono::system_clock::now() + kDrain);
  }

  const platform::Log& log;
  const CallRunner runner;
  RegistrationService registration;
  IdentityService identity;
  ControllerService controller;
  NodeService node;
  SocketServer csi_server;
  SocketServer registration_server;
};

Status ServeUntilStopped(const Surroundings& with, Engines& engines) {
  Services services(with, engines);
  SLUICE_CHECK(services.Start(), "serve the kubelet");
  platform::HttpEndpoint http(with.metrics, [&] { return services.registration.Fault(); });
  SLUICE_TRY(port, http.Start(with.options.metrics_address), "metrics");
  with.log.Info("serving", {{"endpoint", with.options.endpoint}, {"metrics_port", port}});

  std::jthread sweeper([&](const std::stop_token& stop) {
    SweepUntil(stop, engines.keeper, engines.leftovers, with.options.sweep_period);
  });
  while (!StopRequested(std::chrono::seconds(1))) services.Heal();
  with.log.Info("stopping");
  // Whoever waits answers now, so that the server need not wait for them.
  engines.stopping->request_stop();
  sweeper.request_stop();
  services.Stop();
  sweeper.join();
  // A thread that waits for a FUSE server in the kernel cannot be joined.
  if (!engines.patient->Idle()) std::_Exit(EXIT_SUCCESS);
  return Ok();
}

Status Serve(const Options& options, const platform::Log& log) {
  platform::Metrics metrics;
  SLUICE_TRY(turn, WaitForTurn(options.broker_root, log), "start");
  SLUICE_TRY(config, kube::FindConfig(options.kubeconfig), "find the API server");
  SLUICE_TRY(cluster,
             kube::Connect(std::move(config),
                           {.field_manager = "sluice-csi",
                            .user_agent = "sluice-csi",
                            .deadline = std::chrono::seconds(10)},
                           metrics),
             "API client");
  broker::Holder holder(log, metrics);
  SLUICE_CHECK(holder.Start(), "descriptor holder");
  const Surroundings with{.options = options, .log = log, .metrics = metrics, .cluster = *cluster};
  Engines engines(with, holder);
  SLUICE_CHECK(engines.keeper.Recover(), "recover the mounts of this node");
  SLUICE_CHECK(engines.leftovers.Load(), "recall the directories of this node");
  return ServeUntilStopped(with, engines);
}

}  // namespace
}  // namespace sluice::csi

int main(int argc, char** argv) {
  const sluice::csi::ParsedOptions parsed = sluice::csi::ParseOptions(argc, argv);
  if (!parsed.options) return parsed.exit_status;
  const sigset_t signals = sluice::csi::StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  const sluice::platform::Log log("sluice-csi", parsed.options->log_level);
  const sluice::Status served = sluice::csi::Serve(*parsed.options, log);
  if (served) return EXIT_SUCCESS;
  log.Error("cannot go on", {{"error", served.error().message}});
  return EXIT_FAILURE;
}
