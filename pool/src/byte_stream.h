// The bytes of one connection to a worker, as they are or through TLS. Nothing here blocks.
//
//   stream.Connect(address); … stream.FinishConnect(); [stream.StartTls(…); stream.Handshake() …]
//   then Receive and Send as the socket is ready.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

#include "resolver.h"
#include "tls.h"

namespace sluice::pool {

// Threads: one. Errors: kUnavailable for a connection that is lost, kPermissionDenied for TLS's.
class ByteStream {
 public:
  // Begins to connect by a new socket, which is writable once that has ended.
  Status Connect(const SocketAddress& address);
  Status FinishConnect();  // how it ended
  [[nodiscard]] int Fd() const { return fd_.Get(); }
  [[nodiscard]] bool Open() const { return fd_.Valid(); }
  void Close();

  // From now on by TLS with the worker of that name (MakeTls), once the handshake is done.
  Status StartTls(const std::string& directory, const std::string& worker);
  enum class Handshake { kDone, kWantsInput, kWantsOutput };
  Result<Handshake> ShakeHands();
  [[nodiscard]] bool IsTls() const { return tls_ != nullptr; }
  // When the worker's certificate ends; nothing without TLS.
  [[nodiscard]] std::optional<std::chrono::system_clock::time_point> CertificateEnd() const;

  // Puts what has come into `first`, then `second`.
  struct Taken {
    std::size_t bytes = 0;
    bool all = false;  // nothing is left until the socket is readable again
  };
  Result<Taken> Receive(std::span<std::byte> first, std::span<std::byte> second);
  // Whether bytes have left the socket that Receive has not given yet.
  [[nodiscard]] bool Holds() const;

  // How many bytes of `pieces` went; 0 when there is no room, or when the connection is lost, which
  // Receive tells. With TLS no record has bytes of two pieces: memcached before 1.6.39 forgets a
  // request that came in one record with the end of another one. Until they went, the same bytes
  // have to be given again.
  std::size_t Send(std::span<const iovec> pieces);
  // Receive is going to tell of it, whether or not the socket is readable.
  [[nodiscard]] bool Failed() const { return failure_.has_value(); }

 private:
  Result<Taken> ReceiveTls(std::span<std::byte> first, std::span<std::byte> second);
  std::size_t SendTls(std::span<const iovec> pieces);

  platform::UniqueFd fd_;
  TlsPtr tls_;  // null: none
  std::optional<Error> failure_;
};

}  // namespace sluice::pool
