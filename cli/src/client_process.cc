#include "client_process.h"

#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

std::string ClientProgram() {
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / "sluice-fuse";
  return !error && fs::exists(beside, error) ? beside.string() : "sluice-fuse";
}

}  // namespace

Result<ClientProcess> StartClient(const MountRequest& request, const std::string& directory) {
  const std::string program = ClientProgram();
  std::vector<std::string> arguments = {program, "--config=" + directory + "/config.json",
                                        "--broker=" + directory + "/s",
                                        "--metrics=unix:" + directory + "/metrics.sock",
                                        fmt::format("--refresh={}", request.refresh_seconds)};
  if (!request.metrics.empty()) arguments.push_back("--metrics=" + request.metrics);
  if (!request.passthrough) arguments.emplace_back("--no-passthrough");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  // Credentials of our caller's environment are none of the child's business; where it gets some by
  // itself is.
  std::vector<std::string> variables;
  for (const char* const name :
       {"PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY",
        "no_proxy", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_SESSION_NAME", "AWS_ENDPOINT_URL_STS",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}) {
    if (const char* const value = std::getenv(name)) {
      variables.push_back(fmt::format("{}={}", name, value));
    }
  }
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);

  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  // Its own group: Ctrl-C at a foreground mount is for us, we end it in order.
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  ClientProcess process;
  const int error = ::posix_spawnp(&process.pid, program.c_str(), nullptr, &attributes, argv.data(),
                                   environment.data());
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return Fail(Code::kNotFound, fmt::format("start {}: {}; it must lie beside this program or in "
                                             "PATH",
                                             program, std::strerror(error)));
  }
  process.handle = platform::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  return process;
}

std::string Reap(pid_t pid, bool* clean) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  *clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
                             : fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace sluice::cli
