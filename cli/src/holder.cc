#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sluice/core/resource.h"

#include "keeper.h"
#include "verbs.h"

namespace sluice::cli {
namespace {

void SendReport(int fd, const Status& status) {
  const Json report = status ? Json::object({{"ok", true}})
                             : Json::object({{"ok", false},
                                             {"code", static_cast<int>(status.error().code)},
                                             {"error", status.error().message}});
  const std::string line = report.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  [[maybe_unused]] const ssize_t n = ::write(fd, line.data(), line.size());
  ::close(fd);
}

}  // namespace

void AddHolder(CLI::App& app, int& exit_status) {
  struct Arguments {
    std::string directory;
    int report_fd = -1;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const verb = app.add_subcommand("holder", "The process behind a mount");
  verb->group("");  // not in --help
  verb->add_option("directory", arguments->directory)->required();
  verb->add_option("--report-fd", arguments->report_fd)->required();
  verb->callback([arguments, &exit_status] {
    // The client must not inherit it: whoever waits reads to the end.
    ::fcntl(arguments->report_fd, F_SETFD, FD_CLOEXEC);
    const Status kept = KeepMount(arguments->directory, [&](const Status& status) {
      SendReport(arguments->report_fd, status);
    });
    exit_status = kept ? kOk : kFailure;
  });
}

}  // namespace sluice::cli
