// The client's end of the holder's socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::broker {

struct Bundle {
  platform::UniqueFd device;  // /dev/fuse, the same open file as the holder's
  platform::UniqueFd state;   // memfd, empty (size 0) the first time
  std::uint64_t epoch = 0;
};

// Threads: calls are serialized inside; any thread may call.
class Client {
 public:
  // Connects and receives the bundle; waits (with bounded, jittered retries) until the socket
  // exists and no predecessor is connected, at most until the deadline.
  static Result<std::unique_ptr<Client>> Connect(const std::string& socket_path,
                                                 std::chrono::steady_clock::time_point deadline);
  ~Client();

  Bundle TakeBundle();
  Status ReportReady();
  // The text reaches the pod as an event: no secrets.
  Status ReportFailure(const Error& error);
  // Registers `fd` (regular file, opened read-only) as a passthrough backing file: returns its id.
  Result<std::int32_t> BackingOpen(std::uint64_t node_id, int fd);
  Status BackingClose(std::int32_t backing_id);

 private:
  Client();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::broker
