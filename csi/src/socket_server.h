// gRPC services on a Unix socket that is made again when somebody removes it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "sluice/core/result.h"

namespace sluice::csi {

// Threads: one owner; the services are called from gRPC's threads. They must outlive the server.
class SocketServer {
 public:
  SocketServer(std::string path, std::vector<grpc::Service*> services);
  ~SocketServer();
  SocketServer(const SocketServer&) = delete;
  SocketServer& operator=(const SocketServer&) = delete;

  // Creates missing directories, replaces a socket that an earlier process left, listens.
  Status Start();
  // Restarts when the socket file is gone or is another one. True when it did.
  Result<bool> Heal();
  // Calls under way may end until the deadline, then they are cancelled.
  void Stop(std::chrono::system_clock::time_point deadline);

 private:
  [[nodiscard]] ino_t Inode() const;

  std::string path_;
  std::vector<grpc::Service*> services_;
  std::unique_ptr<grpc::Server> server_;
  ino_t inode_ = 0;
};

}  // namespace sluice::csi
