// Keeps the descriptors of FUSE connections alive while the clients that serve them come and go.
//
// One Holder runs in sluice-csi (ordinary nodes) and one in the `sluice` command's background
// process (one machine). For each connection it owns a duplicate of the /dev/fuse descriptor and a
// memfd in which the client keeps what a successor needs (negotiated INIT, request journal, node
// ids), and listens on <directory>/s (SOCK_SEQPACKET). At most one client has the bundle at a time:
// a successor gets it only after its predecessor's socket has hung up. Messages: broker/protocol.h
// and docs/broker-protocol.md.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::broker {

struct ConnectionSpec {
  std::string id;             // CSI volume handle, or mount path on one machine
  std::string directory;      // existing; the socket "s" is created in it
  std::string mount_point;    // for logs and status
  platform::UniqueFd device;  // mounted /dev/fuse descriptor; the holder owns it from now on. May
                              // be invalid after a restart of the holder: then the running client
                              // deposits its own duplicates when it reconnects.
  std::optional<uid_t> client_uid;  // accept only this uid (SO_PEERCRED); empty: root or the owner
  unsigned max_backing_files = 65536;
};

struct ConnectionStatus {
  bool has_device = false;
  bool client_connected = false;
  bool ready = false;  // the connected client reported READY
  pid_t client_pid = 0;
  std::uint64_t epoch = 0;  // grows by one with every bundle handed out
  unsigned backing_files = 0;
  std::string last_error;  // what the last client reported or died of; empty after READY
  Code last_error_code = Code::kUnavailable;
};

// Threads: every method may be called from any thread. Start() runs one thread until destruction.
class Holder {
 public:
  Holder(platform::Log log, platform::Metrics& metrics);
  ~Holder();

  Status Start();
  Status Add(ConnectionSpec spec);  // kAlreadyExists when the id is there
  // Closes the holder's descriptors and socket. The mount must be gone or about to go.
  Status Remove(const std::string& id);
  Result<ConnectionStatus> Get(const std::string& id) const;
  // Ok once a client has reported READY; at the deadline kDeadlineExceeded, or the client's last
  // error with its own code and text.
  Status WaitReady(const std::string& id, std::chrono::steady_clock::time_point deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::broker
