#include <iostream>
#include <map>

#include <CLI/CLI.hpp>

#include "sluice/fuse_client/client.h"

namespace {

using sluice::fuse_client::Options;
using sluice::platform::LogLevel;

void Declare(CLI::App& app, Options& options) {
  app.add_option("--config", options.config_file, "Configuration of the dataset (JSON)");
  app.add_option("--origin", options.origin,
                 "Instead of --config: s3://bucket/prefix, file:///dir");
  app.add_option("--options-file", options.options_file,
                 "Options of --origin: {\"options\": {…}, \"secretFiles\": {…}, \"cache\": {…}}");
  app.add_option("--broker", options.broker_socket, "Socket of the holder of the mount");
  app.add_option("--mount", options.mount_path, "Mount here by itself (takes privilege)");
  app.add_option("--metrics", options.metrics_addresses,
                 "host:port, :port or unix:/path; may be repeated");
  app.add_flag_callback(
      "--no-passthrough", [&options] { options.passthrough = false; },
      "Read complete files through this process too");
  CLI::Option* const check =
      app.add_option("--check", options.check_path,
                     "Exit with 0 when this mount answers within two seconds, else say why not; "
                     "--metrics unix:/path names the client to ask");
  app.add_option_function<unsigned>(
         "--wait", [&options](unsigned s) { options.check_wait = std::chrono::seconds(s); },
         "Seconds to go on asking until the mount answers (default 0)")
      ->needs(check);
  app.add_flag("--end", options.end, "Ask the client at --metrics unix:/path to unmount and exit");
  app.add_option_function<unsigned>(
      "--start-timeout",
      [&options](unsigned s) { options.start_timeout = std::chrono::seconds(s); },
      "Seconds until the origin must have answered, with --mount; 0: no limit (default 60)");
  app.add_option_function<unsigned>(
      "--refresh", [&options](unsigned s) { options.refresh = std::chrono::seconds(s); },
      "Seconds between two listings of the origin; 0: list once (default 60)");
  app.add_option("--log-level", options.log_level, "debug, info, warn or error")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, LogLevel>{{"debug", LogLevel::kDebug},
                                                                  {"info", LogLevel::kInfo},
                                                                  {"warn", LogLevel::kWarn},
                                                                  {"error", LogLevel::kError}}));
}

std::string WhatIsMissing(const Options& options) {
  if (options.config_file.empty() == options.origin.empty()) {
    return "give one of --config FILE and --origin URL";
  }
  if (options.broker_socket.empty() == options.mount_path.empty()) {
    return "give one of --broker SOCKET and --mount PATH";
  }
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Serves a dataset as a FUSE file system.", "sluice-fuse");
  Declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!options.check_path.empty()) {
    const auto alive = sluice::fuse_client::CheckMount(options);
    if (!alive) std::cerr << alive.error().message << '\n';
    return alive ? 0 : 1;
  }
  if (options.end) {
    const auto asked = sluice::fuse_client::AskToEnd(options);
    if (!asked) std::cerr << asked.error().message << '\n';
    return asked ? 0 : 1;
  }
  if (const std::string missing = WhatIsMissing(options); !missing.empty()) {
    std::cerr << "sluice-fuse: " << missing << " (--help tells more)\n";
    return 2;
  }
  return sluice::fuse_client::RunClient(options);
}
