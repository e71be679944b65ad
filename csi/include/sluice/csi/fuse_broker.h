// Our own FUSE mounts and the clients that serve them: mount here, serve elsewhere.
#pragma once

#include <chrono>
#include <string>

#include "sluice/core/result.h"

namespace sluice::csi {

struct FuseAttachment {
  std::string id;           // the mount's key
  std::string directory;    // existing; the client's socket appears in it
  std::string mount_point;  // existing directory
  bool read_only = true;
};

struct FuseClientState {
  bool has_device = false;
  bool client_connected = false;
  bool ready = false;
  std::string last_error = {};
  Code last_error_code = Code::kUnavailable;
};

// Port; the adapter is holder_broker.h. Threads: any.
class FuseBroker {
 public:
  virtual ~FuseBroker() = default;

  // Mounts FUSE at the mount point and offers its descriptor in the directory. Leaves nothing
  // behind when it fails.
  virtual Status Attach(const FuseAttachment& attachment) = 0;
  // The mount is there, its descriptor is only with the running client: waits for its deposit.
  virtual Status Adopt(const FuseAttachment& attachment) = 0;
  // Closes descriptor and socket. Ok when the id is unknown.
  virtual Status Release(const std::string& id) = 0;
  // Removes the directory of a released attachment. Ok when there is none.
  virtual Status Discard(const std::string& directory) = 0;
  // kNotFound when the id is unknown.
  virtual Result<FuseClientState> State(const std::string& id) = 0;
  // Ok once the client serves; at the deadline kDeadlineExceeded or the client's own last error.
  virtual Status WaitReady(const std::string& id,
                           std::chrono::steady_clock::time_point deadline) = 0;
};

}  // namespace sluice::csi
