// Programs run by a test, with a bound on their time.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "sluice/platform/unique_fd.h"

namespace sluice::test {

using Variables = std::map<std::string, std::string>;

// A child; killed when it still runs at the end.
class Process {
 public:
  Process(std::vector<std::string> arguments, const Variables& variables, int output) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::vector<std::string> environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
    std::vector<char*> envp;
    for (std::string& variable : environment) envp.push_back(variable.data());
    envp.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, output, 1);
    ::posix_spawn_file_actions_adddup2(&actions, output, 2);
    if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data()) != 0) pid_ = 0;
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~Process() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t Pid() const { return pid_; }
  void Signal(int number) const { ::kill(pid_, number); }
  // The exit status; 128 + the signal; -1 when it still runs at the end of the time.
  int Wait(std::chrono::milliseconds time) {
    const platform::UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    pollfd wait = {handle.Get(), POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(time.count())) != 1) return -1;
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
};

struct Outcome {
  int status = -1;  // as Process::Wait
  std::string output;
};

inline Outcome RunCommand(const std::vector<std::string>& arguments,
                          const Variables& variables = {},
                          std::chrono::milliseconds time = std::chrono::seconds(30)) {
  std::string name = "/tmp/sluice-output-XXXXXX";
  const platform::UniqueFd output(::mkstemp(name.data()));
  ::unlink(name.c_str());
  Outcome outcome;
  {
    Process process(arguments, variables, output.Get());
    outcome.status = process.Wait(time);
  }
  char buffer[4096];
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(output.Get(), buffer, sizeof(buffer), at);
    if (n <= 0) break;
    outcome.output.append(buffer, static_cast<std::size_t>(n));
    at += n;
  }
  return outcome;
}

// Polls until the condition holds or the time is over.
template <typename F>
bool Eventually(F&& condition, std::chrono::milliseconds time = std::chrono::seconds(15)) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace sluice::test
