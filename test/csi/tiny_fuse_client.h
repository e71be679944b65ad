// A FUSE client of one directory with one file, as small as the protocol allows: enough to see a
// mount served through the broker, without the product's file system.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "sluice/broker/client.h"

namespace sluice::csi {

// Serves "hello.txt" and "sub/inner.txt", both with this text.
inline constexpr const char* kTinyText = "hello from the client\n";

class TinyFuseClient {
 public:
  // Connects in the background as soon as the socket appears, and serves until the mount is gone.
  explicit TinyFuseClient(std::string socket_path);
  // Reports this instead of serving.
  TinyFuseClient(std::string socket_path, Error failure);
  ~TinyFuseClient();  // gives everything back, like a client that dies

  [[nodiscard]] bool Serving() const { return serving_; }

 private:
  void Run(const std::stop_token& stop);
  void Serve(int device, const std::stop_token& stop);

  std::string socket_path_;
  Error failure_;
  std::atomic<bool> serving_{false};
  std::unique_ptr<broker::Client> client_;
  std::jthread thread_;
};

}  // namespace sluice::csi
