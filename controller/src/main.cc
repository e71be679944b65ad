// sluice-controller: Datasets and native runtimes, or the end of ordinary sidecars.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "sluice/controller/controller.h"
#include "sluice/controller/sidecar_controller.h"
#include "sluice/kube/client.h"
#include "sluice/kube/config.h"
#include "sluice/kube/exec.h"
#include "sluice/kube/lease.h"
#include "sluice/platform/http_endpoint.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"

namespace {

using namespace sluice;  // NOLINT(google-build-using-namespace): a program of this project

constexpr const char* kDatasetRole = "dataset";
constexpr const char* kFluidAppRole = "fluidapp";

struct Flags {
  std::string role = kDatasetRole;
  std::string opt_out_label;
  std::string kubeconfig;
  std::string fuse_image;
  std::string fuse_pull_policy = "IfNotPresent";
  std::string worker_image = "memcached:1.6.39-bookworm";
  std::string worker_pull_policy = "IfNotPresent";
  std::string mount_root = "/runtime-mnt";
  std::string metrics = ":8080";
  std::string log_level = "info";
  std::string lease_namespace;
  bool leader_elect = true;
  bool critical_fuse_pod = true;
  unsigned workers = 3;
  int resync_seconds = 90;
};

void Describe(CLI::App& app, Flags& flags) {
  app.add_option("--role", flags.role,
                 "dataset: Datasets and runtimes; fluidapp: end the FUSE sidecars of pods whose "
                 "applications are done")
      ->check(CLI::IsMember({kDatasetRole, kFluidAppRole}));
  app.add_option("--kubeconfig", flags.kubeconfig,
                 "API server and identity; without it the pod's service account");
  app.add_option("--fuse-image", flags.fuse_image,
                 "Image of sluice-fuse for runtimes that name none")
      ->envname("SLUICE_IMAGE");
  app.add_option("--fuse-pull-policy", flags.fuse_pull_policy, "Its pull policy")
      ->envname("SLUICE_IMAGE_PULL_POLICY")
      ->check(CLI::IsMember({"Always", "IfNotPresent", "Never"}));
  app.add_option("--worker-image", flags.worker_image,
                 "Image of memcached for cache workers of runtimes that name none")
      ->envname("SLUICE_WORKER_IMAGE");
  app.add_option("--worker-pull-policy", flags.worker_pull_policy, "Its pull policy")
      ->envname("SLUICE_WORKER_IMAGE_PULL_POLICY")
      ->check(CLI::IsMember({"Always", "IfNotPresent", "Never"}));
  app.add_option("--mount-root", flags.mount_root, "Host directory of the FUSE mounts")
      ->envname("MOUNT_ROOT");
  app.add_option("--metrics-addr,--metrics", flags.metrics,
                 "Address of /metrics, /healthz and /readyz");
  app.add_option("--log-level", flags.log_level, "Least severe line to write")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  app.add_flag("--leader-elect,!--no-leader-elect", flags.leader_elect,
               "Work only while holding the lease (default)");
  app.add_option("--leader-elect-namespace", flags.lease_namespace,
                 "Namespace of the lease; default: our own");
  app.add_option("--critical-fuse-pod", flags.critical_fuse_pod,
                 "Give FUSE pods the priority class system-node-critical")
      ->envname("CRITICAL_FUSE_POD");
  app.add_option("--workers", flags.workers, "Objects handled at once")->check(CLI::Range(1, 64));
  app.add_option("--resync", flags.resync_seconds,
                 "Seconds between looks at a healthy dataset; -1: only on changes")
      ->envname("FLUID_RUNTIME_RECONCILE_DURATION");
  app.add_option("--opt-out-label", flags.opt_out_label,
                 "Pods with this label keep their sidecars (fluidapp)")
      ->envname("KEY_DISABLE_APP_CONTROLLER");
}

platform::LogLevel LevelOf(const std::string& name) {
  if (name == "debug") return platform::LogLevel::kDebug;
  if (name == "warn") return platform::LogLevel::kWarn;
  if (name == "error") return platform::LogLevel::kError;
  return platform::LogLevel::kInfo;
}

std::string Identity() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  std::random_device random;
  return fmt::format("{}_{:08x}{:08x}", host.data(), random(), random());
}

// A client for the lease alone, whose requests end while the lease still lasts: with the time to
// connect they take five seconds at most. Those of the work may take longer than the lease.
Result<std::unique_ptr<Cluster>> ConnectForLease(kube::Config config, platform::Metrics& metrics) {
  return kube::Connect(std::move(config),
                       {.user_agent = "sluice-controller",
                        .deadline = std::chrono::seconds(3),
                        .connect_timeout = std::chrono::seconds(1)},
                       metrics);
}

Status Lead(Cluster& cluster, const ObjectKey& lease, controller::LedWork& work,
            const platform::Log& log, const std::stop_token& stop) {
  const SystemClock clock;
  kube::LeaderElector elector(cluster, {.lease = lease, .identity = Identity()}, clock, log);
  return elector.Run(
      stop, [&](const std::stop_token& leading) { work.Run(leading); },
      [&](const Error& error) {
        log.Error("ended", {{"error", error.message}});
        // At once: a request of the work may hang for longer than others wait to take over.
        std::_Exit(1);
      });
}

std::unique_ptr<controller::LedWork> MakeDatasetWork(const Flags& flags, Cluster& cluster,
                                                     const Clock& clock, const platform::Log& log,
                                                     platform::Metrics& metrics) {
  return std::make_unique<controller::Controller>(
      cluster,
      controller::ControllerOptions{
          .plan = {.fuse_image = flags.fuse_image,
                   .fuse_pull_policy = flags.fuse_pull_policy,
                   .worker_image = flags.worker_image,
                   .worker_pull_policy = flags.worker_pull_policy,
                   .mount_root = flags.mount_root,
                   .critical_fuse_pod = flags.critical_fuse_pod},
          .timing = {.steady = std::chrono::seconds(std::max(0, flags.resync_seconds))},
          .workers = flags.workers},
      clock, log, metrics);
}

// Runs until a signal or until the lease is lost.
Status Serve(const Flags& flags, const platform::Log& log, const sigset_t& signals) {
  platform::Metrics metrics;
  const bool ends_sidecars = flags.role == kFluidAppRole;
  SLUICE_TRY(config, kube::FindConfig(flags.kubeconfig), "find the API server");
  SLUICE_TRY(cluster, kube::Connect(config, {.user_agent = "sluice-controller"}, metrics),
             "API client");
  SLUICE_TRY(exec, kube::ConnectExec(config, {.user_agent = "sluice-controller"}, metrics),
             "API client");
  const ObjectKey lease{flags.lease_namespace.empty() ? config.ns : flags.lease_namespace,
                        flags.role + ".data.fluid.io"};
  SLUICE_TRY(lease_cluster, ConnectForLease(std::move(config), metrics), "API client of the lease");
  const SystemClock clock;
  const std::unique_ptr<controller::LedWork> led =
      ends_sidecars ? std::make_unique<controller::SidecarController>(
                          *cluster, *exec,
                          controller::SidecarControllerOptions{.opt_out_label = flags.opt_out_label,
                                                               .workers = flags.workers},
                          clock, log, metrics)
                    : MakeDatasetWork(flags, *cluster, clock, log, metrics);
  controller::LedWork& work = *led;
  platform::HttpEndpoint endpoint(metrics, [&work] { return work.NotReadyReason(); });
  if (auto port = endpoint.Start(flags.metrics); !port) return Fail(port.error());
  work.Start();

  Status outcome = Ok();
  std::jthread leading([&](const std::stop_token& stop) {
    if (flags.leader_elect) {
      outcome = Lead(*lease_cluster, lease, work, log, stop);
    } else {
      work.Run(stop);
    }
    // Ends the wait below; harmless when a signal came first.
    kill(getpid(), SIGTERM);
  });
  int signal = 0;
  sigwait(&signals, &signal);
  log.Info("stopping", {{"signal", signal}});
  leading.request_stop();
  leading.join();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Controller of Datasets and native runtimes"};
  Describe(app, flags);
  CLI11_PARSE(app, argc, argv);
  if (flags.role == kDatasetRole && flags.fuse_image.empty()) {
    std::fputs("sluice-controller: give --fuse-image (SLUICE_IMAGE); --help tells more\n", stderr);
    return 2;
  }
  const platform::Log log("sluice-controller", LevelOf(flags.log_level));
  // Before any thread is started, so that all inherit the mask and only sigwait takes them.
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (Status served = Serve(flags, log, signals); !served) {
    log.Error("ended", {{"error", served.error().message}});
    return 1;
  }
  return 0;
}
