#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>

#include <CLI/CLI.hpp>

#include "sluice/prefetcher/program.h"

namespace {

using sluice::prefetcher::Asker;
using sluice::prefetcher::Options;
using sluice::prefetcher::WhenDone;

struct Flags {
  bool status = false;
  bool probe = false;
  bool wait = false;
};

void Declare(CLI::App& app, Flags& flags, Options& options) {
  auto* const status = app.add_flag("--status", flags.status,
                                    "Print one line about the progress; exit with 0 when the "
                                    "application need not wait any more");
  app.add_flag("--probe", flags.probe,
               "With --status: look for a while before saying no, and say no once to a failure")
      ->needs(status);
  app.add_flag("--wait", flags.wait, "Wait until it is finished, or the limit is over")
      ->excludes(status);
  app.add_option("--when-done", options.when_done,
                 "idle: stay (default); exit: exit with 0; tell: exit with 1 after a failure, "
                 "once, else stay")
      ->transform(CLI::CheckedTransformer(std::map<std::string, WhenDone>{
          {"idle", WhenDone::kIdle}, {"exit", WhenDone::kExit}, {"tell", WhenDone::kTell}}));
  app.add_option("--status-dir", options.status_directory, "Where the status files are")
      ->capture_default_str();
  app.add_option("--data-root", options.request.data_root, "Where the volumes are")
      ->capture_default_str();
  app.add_option("--termination-log", options.termination_log, "Where the result is told, too")
      ->capture_default_str();
  app.footer(
      "Environment:\n"
      "  FILE_PREFETCHER_FILE_LIST        patterns separated by ';', ** for any depth\n"
      "  FILE_PREFETCHER_TIMEOUT_SECONDS  how long the application is held back (120)\n"
      "  BUFFER_SIZE_IN_BYTES             bytes read at a time (16777216)\n");
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  Options options;
  CLI::App app("Reads files of mounted volumes, so that they are cached", "sluice-prefetch");
  Declare(app, flags, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const sluice::platform::Log log("sluice-prefetch");
  const auto environment = [](const std::string& name) -> std::string {
    const char* const value = std::getenv(name.c_str());
    return value == nullptr ? "" : value;
  };
  sluice::prefetcher::ReadEnvironment(environment, log, options);
  if (flags.status) {
    return PrintStatus(options, flags.probe ? Asker::kProbe : Asker::kAnyone, std::cout);
  }
  if (flags.wait) return WaitForEnd(options, std::cout);
  // Before any thread is started, so that all inherit the mask.
  const sigset_t signals = sluice::prefetcher::StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return Run(options, log);
}
