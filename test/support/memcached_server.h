// A real memcached for a test: started on a free port of the loopback interface, ended with the
// fixture.
//
//   auto server = MemcachedServer::Start();
//   ASSERT_TRUE(server) << server.error().message;
//   pool.SetMembers({(*server)->Member("w-0")});
//
// The binary is $SLUICE_MEMCACHED or Debian's /usr/bin/memcached (scripts/install-packages).
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "sluice/core/pool_members.h"
#include "sluice/core/result.h"

namespace sluice::test {

class MemcachedServer {
 public:
  // Values up to 8 MiB; `arguments` come after that. With "-Z" among them, for TLS, the test's own
  // questions go to a port without it. kUnavailable when it does not get ready.
  static Result<std::unique_ptr<MemcachedServer>> Start(std::vector<std::string> arguments = {});
  ~MemcachedServer();
  MemcachedServer(const MemcachedServer&) = delete;
  MemcachedServer& operator=(const MemcachedServer&) = delete;

  void Kill();       // by SIGKILL; the port stays its own for Restart
  Status Restart();  // empty
  void Freeze();     // by SIGSTOP: the kernel goes on to accept connections for it
  void Thaw();

  // One command with its data, without the last line end; the reply up to the first line end.
  Result<std::string> Ask(const std::string& command) const;

  [[nodiscard]] std::string Address() const;  // "127.0.0.1:PORT"
  [[nodiscard]] PoolMember Member(const std::string& name) const { return {name, Address()}; }
  [[nodiscard]] int Port() const { return port_; }
  [[nodiscard]] pid_t Pid() const { return pid_; }

 private:
  MemcachedServer() = default;
  Status Launch();
  Status WaitUntilReady();

  std::vector<std::string> arguments_;
  int port_ = 0;
  int plain_port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace sluice::test
