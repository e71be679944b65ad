// A connection to the API server as plain bytes, for protocols other than requests and answers.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

#include "server_access.h"

namespace sluice::kube {

// Threads: one.
class ByteStream {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Connected, over TLS with its handshake done. kUnavailable when nobody answers at the address;
  // kDeadlineExceeded after `connected_by`. Everything later ends by `deadline`.
  static Result<std::unique_ptr<ByteStream>> Open(const ServerAccess& server,
                                                  TimePoint connected_by, TimePoint deadline);

  // All of it.
  Status Write(std::string_view bytes);
  // What has come, at least a byte; empty at the end of the stream.
  Result<std::string> Read();

 private:
  using ContextPtr = platform::OpenSslPtr<SSL_CTX, SSL_CTX_free>;
  using SslPtr = platform::OpenSslPtr<SSL, SSL_free>;

  ByteStream(platform::UniqueFd fd, std::string name)
      : fd_(std::move(fd)), name_(std::move(name)) {}
  Status Handshake(const ServerAccess& server);
  // After an OpenSSL call that did not succeed: waits for what it needs, or says why it can't be.
  Status AwaitTls(int result, std::string_view doing);
  Status Await(short events);
  // How many bytes were put into `bytes`; nothing: try again, there may be some now.
  Result<std::optional<std::size_t>> ReadTls(std::string& bytes);
  Result<std::optional<std::size_t>> ReadPlain(std::string& bytes);

  platform::UniqueFd fd_;
  const std::string name_;  // of the server, for messages
  TimePoint deadline_;
  ContextPtr context_;
  SslPtr ssl_;  // null: no TLS
};

}  // namespace sluice::kube
