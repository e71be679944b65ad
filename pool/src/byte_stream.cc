#include "byte_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>

namespace sluice::pool {
namespace {

tl::unexpected<Error> Lost(std::string_view what, int error) {
  return Fail(Code::kUnavailable,
              fmt::format("{}: {}", what, std::generic_category().message(error)));
}

void SetOption(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof(value));
}

void ConfigureSocket(int fd) {
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // A host that vanished is noticed within half a minute, without an operation.
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

// What OpenSSL left of others' calls on this thread would be taken for this one's.
void BeginTlsCall() {
  ERR_clear_error();
  errno = 0;
}

}  // namespace

Status ByteStream::Connect(const SocketAddress& address) {
  Close();
  fd_ = platform::UniqueFd(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd_.Valid()) return Lost("socket", errno);
  ConfigureSocket(fd_.Get());
  const int connected =
      ::connect(fd_.Get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length);
  if (connected == 0 || errno == EINPROGRESS) return Ok();
  const int error = errno;
  Close();
  return Lost("connect", error);
}

Status ByteStream::FinishConnect() {
  int error = 0;
  socklen_t length = sizeof(error);
  ::getsockopt(fd_.Get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return Lost("connect", error);
  return Ok();
}

void ByteStream::Close() {
  tls_.reset();
  failure_.reset();
  fd_.Reset();
}

Status ByteStream::StartTls(const std::string& directory, const std::string& worker) {
  auto tls = MakeTls(directory, worker, fd_.Get());
  if (!tls) return Fail(tls.error());
  tls_ = *std::move(tls);
  return Ok();
}

Result<ByteStream::Handshake> ByteStream::ShakeHands() {
  BeginTlsCall();
  const int done = SSL_do_handshake(tls_.get());
  if (done == 1) return Handshake::kDone;
  const int error = SSL_get_error(tls_.get(), done);
  if (error == SSL_ERROR_WANT_READ) return Handshake::kWantsInput;
  if (error == SSL_ERROR_WANT_WRITE) return Handshake::kWantsOutput;
  return Fail(TlsError(tls_.get(), error));
}

std::optional<std::chrono::system_clock::time_point> ByteStream::CertificateEnd() const {
  if (!tls_) return {};
  return PeerCertificateEnd(tls_.get());
}

Result<ByteStream::Taken> ByteStream::Receive(std::span<std::byte> first,
                                              std::span<std::byte> second) {
  if (tls_) return ReceiveTls(first, second);
  std::array<iovec, 2> pieces{iovec{first.data(), first.size()},
                              iovec{second.data(), second.size()}};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  ssize_t count = -1;
  do {
    count = ::recvmsg(fd_.Get(), &message, 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Taken{.all = true};
  if (count < 0) return Lost("receive", errno);
  if (count == 0) return Fail(Code::kUnavailable, "the worker closed the connection");
  const auto bytes = static_cast<std::size_t>(count);
  return Taken{.bytes = bytes, .all = bytes < first.size() + second.size()};
}

Result<ByteStream::Taken> ByteStream::ReceiveTls(std::span<std::byte> first,
                                                 std::span<std::byte> second) {
  if (failure_) return Fail(*failure_);
  Taken taken;
  for (std::span<std::byte> room : {first, second}) {
    while (!room.empty()) {
      BeginTlsCall();
      std::size_t count = 0;
      const int done = SSL_read_ex(tls_.get(), room.data(), room.size(), &count);
      if (done == 1) {
        taken.bytes += count;
        room = room.subspan(count);
        continue;
      }
      const int error = SSL_get_error(tls_.get(), done);
      taken.all = error == SSL_ERROR_WANT_READ;
      if (taken.all) return taken;
      failure_ = TlsError(tls_.get(), error);
      // What came before it counts; the next call tells.
      if (taken.bytes == 0) return Fail(*failure_);
      return taken;
    }
  }
  return taken;
}

bool ByteStream::Holds() const {
  return failure_.has_value() || (tls_ && SSL_pending(tls_.get()) > 0);
}

std::size_t ByteStream::Send(std::span<const iovec> pieces) {
  if (tls_) return SendTls(pieces);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(fd_.Get(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  // Other errors than a full buffer are reported to the receiving side as well.
  return sent < 0 ? 0 : static_cast<std::size_t>(sent);
}

std::size_t ByteStream::SendTls(std::span<const iovec> pieces) {
  if (failure_) return 0;
  std::size_t sent = 0;
  for (const iovec& piece : pieces) {
    for (std::size_t at = 0; at < piece.iov_len;) {
      BeginTlsCall();
      std::size_t count = 0;
      const int done = SSL_write_ex(tls_.get(), static_cast<const std::byte*>(piece.iov_base) + at,
                                    piece.iov_len - at, &count);
      if (done != 1) {
        const int error = SSL_get_error(tls_.get(), done);
        if (error != SSL_ERROR_WANT_WRITE) failure_ = TlsError(tls_.get(), error);
        return sent;
      }
      at += count;
      sent += count;
    }
  }
  return sent;
}

}  // namespace sluice::pool
