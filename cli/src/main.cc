#include <csignal>

#include <CLI/CLI.hpp>

#include "verbs.h"

int main(int argc, char** argv) {
  using sluice::Code;
  using namespace sluice::cli;  // NOLINT(google-build-using-namespace): this program's own
  // The holder outlives whoever waits for its report.
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Datasets at local-disk speed.", "sluice");
  app.require_subcommand(1);
  app.footer(
      "sluice VERB --help tells more about one.\n"
      "Exit status: 0 done, 1 it failed, 2 the command line or an argument is wrong.\n");
  int exit_status = kOk;
  AddMount(app, exit_status);
  AddStatus(app, exit_status);
  AddUmount(app, exit_status);
  AddInject(app, exit_status);
  AddHolder(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.get_subcommands().empty() && !app.remaining().empty()) {
      return Report(
          {Code::kInvalidArgument, "'" + app.remaining().front() + "' is no verb of sluice"},
          "sluice --help lists them");
    }
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  return exit_status;
}
