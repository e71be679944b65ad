// sluice-webhook: wires flags, state, certificates and server.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "sluice/certs/certificate.h"
#include "sluice/kube/client.h"
#include "sluice/platform/http_endpoint.h"
#include "sluice/ports/live_objects.h"
#include "sluice/webhook/admission.h"
#include "sluice/webhook/certificate_loop.h"
#include "sluice/webhook/options.h"
#include "sluice/yaml/file_objects.h"

#include "informed_resources.h"

namespace {

using namespace sluice;  // NOLINT(google-build-using-namespace): this is the program

constexpr const char* kPath = "/mutate-fluid-io-v1alpha1-schedulepod";

// What is shared by both ways to run.
struct Process {
  webhook::Options options;
  platform::Log log;
  platform::Metrics metrics;
  SystemClock clock;
};

// Waits for SIGTERM or SIGINT; false when the time is over first.
bool WaitForSignal(const sigset_t& signals, std::optional<std::chrono::seconds> limit) {
  if (!limit) {
    int received = 0;
    return sigwait(&signals, &received) == 0;
  }
  const timespec time{.tv_sec = limit->count(), .tv_nsec = 0};
  return sigtimedwait(&signals, nullptr, &time) > 0;
}

// Serves until a signal. `not_ready` says what is missing, or nothing.
Status Serve(Process& process, webhook::TlsServer& server, const sigset_t& signals,
             const std::function<std::string()>& not_ready) {
  std::atomic<bool> ending{false};
  platform::HttpEndpoint endpoint(process.metrics,
                                  [&] { return ending ? "shutting down" : not_ready(); });
  if (!process.options.metrics_address.empty()) {
    SLUICE_TRY(metrics_port, endpoint.Start(process.options.metrics_address), "metrics endpoint");
    process.log.Info("metrics served", {{"port", metrics_port}});
  }
  SLUICE_TRY(port, server.Start(process.options.bind_address, process.options.port), "webhook");
  process.log.Info("serving", {{"port", port}, {"path", kPath}});
  WaitForSignal(signals, std::nullopt);
  ending = true;
  process.log.Info("ending");
  WaitForSignal(signals, std::chrono::seconds(process.options.shutdown_delay_seconds));
  server.Stop();
  return Ok();
}

webhook::TlsServer MakeServer(Process& process, const webhook::Admission& admission) {
  return {webhook::TlsServerOptions{.path = kPath},
          [&admission](std::string_view content_type, std::string_view body) {
            return admission.Serve(content_type, body);
          },
          process.log, process.metrics};
}

Status UseSelfSigned(Process& process, webhook::TlsServer& server) {
  certs::ServingNames names =
      certs::ServiceNames(process.options.ns.empty() ? "fluid-system" : process.options.ns);
  names.ips = {"127.0.0.1", "::1"};
  SLUICE_TRY(renewal, certs::RenewIfNeeded({}, names, process.clock.WallNow()), "self-signed");
  if (process.options.cert_dir_given) {
    SLUICE_CHECK(certs::WriteCertificateFiles(process.options.cert_dir, renewal.identity),
                 "self-signed");
  }
  return server.UseCertificate(renewal.identity.serving.certificate, renewal.identity.serving.key);
}

// Serves with what the flags name, without a Secret, until a signal.
Status ServeWithLocalCertificate(Process& process, webhook::TlsServer& server,
                                 const sigset_t& signals,
                                 const std::function<std::string()>& not_ready) {
  if (process.options.self_signed) {
    SLUICE_CHECK(UseSelfSigned(process, server), "certificate");
    return Serve(process, server, signals, not_ready);
  }
  webhook::FileCertificates files(
      process.options.cert_dir,
      [&](const std::string& certificate, const std::string& key) {
        return server.UseCertificate(certificate, key);
      },
      process.metrics, process.log);
  SLUICE_CHECK(files.Start(), "certificate (or use --self-signed)");
  const std::jthread loop([&](const std::stop_token& stop) { files.Run(stop); });
  return Serve(process, server, signals, not_ready);
}

Status RunFromFile(Process& process, const sigset_t& signals) {
  SLUICE_TRY(objects,
             yaml::FileObjects::Load(process.options.state_file, webhook::KeepWhatAdmissionReads),
             "state");
  malloc_trim(0);  // the file's text and tree were many times larger than what is kept
  process.log.Info("state loaded",
                   {{"file", process.options.state_file}, {"objects", objects->Size()}});
  const webhook::UnpackedObjects state(*objects);
  const webhook::Admission admission(
      {.state = state, .clock = process.clock, .metrics = process.metrics, .log = process.log},
      process.options.settings);
  auto server = MakeServer(process, admission);
  return ServeWithLocalCertificate(process, server, signals, [] { return std::string(); });
}

Status RunInCluster(Process& process, const sigset_t& signals) {
  SLUICE_TRY(config, kube::FindConfig(process.options.kubeconfig), "find the API server");
  // Half of what the API server waits for us.
  const kube::ClientOptions client{.field_manager = "sluice-webhook",
                                   .user_agent = "sluice-webhook",
                                   .deadline = std::chrono::milliseconds(7000),
                                   .connect_timeout = std::chrono::milliseconds(2000)};
  SLUICE_TRY(cluster, kube::Connect(std::move(config), client, process.metrics), "API client");
  const bool own_certificate =
      !process.options.self_signed && !process.options.certificate_from_files;
  auto watched = webhook::InformedResources();
  // Watched by who keeps its caBundle; others have no right to it.
  if (own_certificate) {
    watched.push_back(
        {.type = resources::kMutatingWebhookConfiguration,
         .filter = {.field_selector = std::string("metadata.name=") + certs::kConfigurationName},
         .transform = {},
         .optional = true});
  }
  auto informers = std::make_unique<kube::InformerSet>(
      *cluster, std::move(watched), kube::InformerOptions{}, process.log, process.metrics);
  const LiveObjects live(*cluster);
  webhook::ClusterConfigMaps config_maps(*cluster, process.clock);
  const webhook::UnpackedObjects state(*informers);
  const webhook::Admission admission({.state = state,
                                      .live = &live,
                                      .config_maps = &config_maps,
                                      .clock = process.clock,
                                      .metrics = process.metrics,
                                      .log = process.log},
                                     process.options.settings);
  auto server = MakeServer(process, admission);
  const auto not_ready = [&] { return informers->NotSyncedReason(); };
  if (!own_certificate) {
    informers->Start();
    return ServeWithLocalCertificate(process, server, signals, not_ready);
  }
  webhook::SecretCertificates certificates(
      {.cluster = *cluster,
       .clock = process.clock,
       .ns = process.options.ns,
       .directory = process.options.cert_dir,
       .use = [&](const std::string& certificate,
                  const std::string& key) { return server.UseCertificate(certificate, key); },
       .metrics = process.metrics,
       .log = process.log});
  SLUICE_CHECK(certificates.Start(), "certificate");
  informers->OnChange([&](const kube::Change& change) {
    if (change.type == resources::kMutatingWebhookConfiguration) certificates.Wake();
  });
  informers->Start();
  const std::jthread loop([&](const std::stop_token& stop) { certificates.Run(stop); });
  auto status = Serve(process, server, signals, [&] {
    const std::string missing = not_ready();
    return missing.empty() ? certificates.NotTrustedReason() : missing;
  });
  informers.reset();  // before `certificates`, which it wakes
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  // Two heaps for all threads: memory follows the state, not the number of connections.
  mallopt(M_ARENA_MAX, 2);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  auto parsed = webhook::ParseOptions({argv + 1, argv + argc}, [](const std::string& name) {
    const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): no threads yet
    return std::string(value == nullptr ? "" : value);
  });
  if (!parsed.run) {
    std::fputs(parsed.text.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  const platform::Log log("sluice-webhook", parsed.options.debug ? platform::LogLevel::kDebug
                                                                 : platform::LogLevel::kInfo);
  Process process{.options = std::move(parsed.options), .log = log, .metrics = {}, .clock = {}};
  const Status status =
      process.options.HasCluster() ? RunInCluster(process, signals) : RunFromFile(process, signals);
  if (status) return 0;
  log.Error("cannot serve", {{"error", status.error().message}});
  return 1;
}
