#include "sluice/webhook/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "sluice/platform/read_file.h"
#include "sluice/yaml/injection_files.h"

namespace sluice::webhook {
namespace {

bool IsGoTrue(const std::string& text) {
  constexpr std::array<std::string_view, 6> kTrues{"1", "t", "T", "TRUE", "true", "True"};
  return std::find(kTrues.begin(), kTrues.end(), text) != kTrues.end();
}

// Flags that Fluid's webhook has and ours needs not; they are accepted so that its Deployment can
// be taken over as it is.
struct Ignored {
  std::string pprof_address;
  bool full_go_profile = false;
  double qps = 0;
  int burst = 0;
};

// "127.0.0.1:9443", "[::1]:9443", ":9443" for every address.
Status SetListenAddress(const std::string& address, Options& options) {
  const std::size_t colon = address.rfind(':');
  const std::string digits = colon == std::string::npos ? "" : address.substr(colon + 1);
  int port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port < 0 || port > 65535) {
    return Fail(Code::kInvalidArgument,
                fmt::format("\"{}\" is not HOST:PORT, as 127.0.0.1:9443 is", address));
  }
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  options.bind_address = host.empty() ? "0.0.0.0" : host;
  options.port = port;
  return Ok();
}

void AddFlags(CLI::App& app, Options& options, Ignored& ignored) {
  app.add_option("--webhook-port", options.port, "Port for admission requests; 0 picks one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app.add_option("--bind-address", options.bind_address, "Address for admission requests")
      ->capture_default_str();
  app.add_option("--webhook-cert-dir", options.cert_dir,
                 "Directory of tls.crt and tls.key; written when the cluster keeps the certificate")
      ->capture_default_str();
  app.add_option("--metrics-addr", options.metrics_address,
                 "Address of /metrics, /healthz and /readyz; empty for none")
      ->capture_default_str();
  app.add_option("--kubeconfig", options.kubeconfig,
                 "Cluster to serve; default: the one we run in");
  app.add_option(
      "--state", options.state_file,
      "Serve from this file of Kubernetes objects (a List, or YAML documents) instead of "
      "a cluster");
  app.add_option_function<std::string>(
         "--listen",
         [&options](const std::string& address) {
           if (auto status = SetListenAddress(address, options); !status) {
             throw CLI::ValidationError("--listen", status.error().message);
           }
         },
         "HOST:PORT for admission requests; the same as --bind-address and --webhook-port")
      ->excludes("--webhook-port")
      ->excludes("--bind-address");
  app.add_flag("--self-signed", options.self_signed, "Serve with a certificate made at start");
  app.add_option_function<std::string>(
         "--certificate",
         [&options](const std::string& from) { options.certificate_from_files = from == "files"; },
         "own: kept in Secret fluid-webhook-certs; files: tls.crt and tls.key as another keeps "
         "them, and the caBundle with them")
      ->check(CLI::IsMember({"own", "files"}))
      ->default_str("own");
  app.add_option_function<std::string>(
         "--failure-policy",
         [&options](const std::string& policy) {
           options.settings.failure_policy = policy == "Ignore" ? injection::FailurePolicy::kIgnore
                                                                : injection::FailurePolicy::kFail;
         },
         "What becomes of a pod that cannot be injected: Fail refuses it, Ignore admits it as it "
         "is, with a warning; say the same in the MutatingWebhookConfiguration")
      ->check(CLI::IsMember({"Fail", "Ignore"}))
      ->default_str("Fail");
  app.add_option("--plugins-profile", options.plugin_profile, "Which plugins run, and how")
      ->capture_default_str();
  app.add_option("--serverless-table", options.serverless_table,
                 "YAML file: how to recognise pods that are bound for serverless nodes");
  app.add_option("--shutdown-delay-seconds", options.shutdown_delay_seconds,
                 "On SIGTERM keep serving so long, unready, until no request is sent here any more")
      ->check(CLI::Range(0, 600))
      ->capture_default_str();
  app.add_flag("--development", options.debug, "Log more");
  app.add_option("--pprof-addr", ignored.pprof_address)->group("");
  app.add_flag("--full-go-profile", ignored.full_go_profile)->group("");
  app.add_option("--kube-api-qps", ignored.qps)->group("");
  app.add_option("--kube-api-burst", ignored.burst)->group("");
}

Status ReadEnvironment(const Environment& environment, Options& options) {
  options.ns = environment("MY_POD_NAMESPACE");
  if (options.ns.empty() && options.HasCluster()) {
    return Fail(Code::kInvalidArgument,
                "environment variable MY_POD_NAMESPACE is not set; set it to the namespace of the "
                "webhook's Service (fieldRef metadata.namespace)");
  }
  injection::Settings& settings = options.settings;
  settings.disabled = IsGoTrue(environment("DISABLE_INJECTION"));
  settings.placement = environment("FUSE_SIDECAR_INJECTION_MODE") == "native-sidecar"
                           ? injection::SidecarPlacement::kNative
                           : injection::SidecarPlacement::kLegacy;
  settings.serverless_platform_key = environment("KEY_SERVERLESS_PLATFORM");
  settings.automatic_sidecar = environment("SLUICE_AUTOMATIC_MODE") == "sidecar";
  settings.sluice_image = environment("SLUICE_IMAGE");
  settings.prefetcher_image = environment("FILE_PREFETCHER_IMAGE");
  const std::string& image = settings.prefetcher_image;
  if (!image.empty() && image.find(':', image.rfind('/') + 1) == std::string::npos) {
    return Fail(
        Code::kInvalidArgument,
        fmt::format("environment variable FILE_PREFETCHER_IMAGE: \"{}\" is not repo:tag", image));
  }
  return Ok();
}

Status ReadFiles(Options& options) {
  auto profile = platform::ReadFile(options.plugin_profile);
  if (profile) {
    SLUICE_CHECK(yaml::ApplyPluginProfile(*profile, options.settings), options.plugin_profile);
  } else if (options.plugin_profile_given || options.HasCluster()) {
    return Fail(
        profile.error().Wrap("plugin profile (mount ConfigMap webhook-plugins there, or "
                             "name another file with --plugins-profile)"));
  }
  if (options.serverless_table.empty()) return Ok();
  SLUICE_TRY(table, platform::ReadFile(options.serverless_table), "serverless table");
  SLUICE_CHECK(yaml::ApplyServerlessTable(table, options.settings), options.serverless_table);
  return Ok();
}

}  // namespace

ParsedOptions ParseOptions(std::vector<std::string> arguments, const Environment& environment) {
  ParsedOptions parsed;
  Options& options = parsed.options;
  Ignored ignored;
  CLI::App app("Sluice's pod admission webhook", "sluice-webhook");
  app.fallthrough();
  AddFlags(app, options, ignored);
  app.add_subcommand("start", "Serve (the default)");
  // The library wants the arguments backwards.
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    parsed.exit_code = app.exit(error, out, out);
    parsed.text = out.str();
    return parsed;
  }
  options.cert_dir_given = app.count("--webhook-cert-dir") > 0;
  options.plugin_profile_given = app.count("--plugins-profile") > 0;
  if (app.count("--shutdown-delay-seconds") == 0 && options.HasCluster()) {
    options.shutdown_delay_seconds = 3;
  }
  // A look at rules shares the machine with who knows what; nobody scrapes it unless asked.
  if (app.count("--metrics-addr") == 0 && !options.HasCluster()) options.metrics_address.clear();
  Status status = ReadEnvironment(environment, options);
  if (status) status = ReadFiles(options);
  if (!status) {
    parsed.text = status.error().message + "\n";
    parsed.exit_code = 2;
    return parsed;
  }
  parsed.run = true;
  return parsed;
}

}  // namespace sluice::webhook
