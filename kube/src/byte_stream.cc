#include "byte_stream.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <openssl/err.h>

namespace sluice::kube {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kReadBytes = 16U << 10;

struct FreeAddresses {
  void operator()(addrinfo* addresses) const { freeaddrinfo(addresses); }
};
using AddressPtr = std::unique_ptr<addrinfo, FreeAddresses>;

Error Unavailable(const std::string& server, std::string_view what, int error_number) {
  return {Code::kUnavailable, fmt::format("{}: {}: {}", server, what, std::strerror(error_number))};
}

// Waits until the socket can do one of the events; errors of the socket count as that.
Status AwaitSocket(int fd, short events, steady_clock::time_point deadline,
                   const std::string& server) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
    pollfd wait{.fd = fd, .events = events, .revents = 0};
    const int ready = left <= 0 ? 0 : poll(&wait, 1, static_cast<int>(left));
    if (ready > 0) return Ok();
    if (ready < 0 && errno != EINTR) return Fail(Unavailable(server, "poll", errno));
    if (left <= 0) {
      return Fail(Code::kDeadlineExceeded, fmt::format("no answer from {} in time", server));
    }
  }
}

Result<platform::UniqueFd> ConnectTo(const addrinfo& address, steady_clock::time_point deadline,
                                     const std::string& server) {
  platform::UniqueFd fd(
      socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.Valid()) return Fail(Unavailable(server, "socket", errno));
  const int on = 1;
  (void)setsockopt(fd.Get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (connect(fd.Get(), address.ai_addr, address.ai_addrlen) == 0) return fd;
  if (errno != EINPROGRESS) return Fail(Unavailable(server, "connect", errno));
  if (Status ready = AwaitSocket(fd.Get(), POLLOUT, deadline, server); !ready) {
    return Fail(ready.error());
  }
  int failed = 0;
  socklen_t size = sizeof(failed);
  (void)getsockopt(fd.Get(), SOL_SOCKET, SO_ERROR, &failed, &size);
  if (failed != 0) return Fail(Unavailable(server, "connect", failed));
  return fd;
}

Result<platform::UniqueFd> ConnectToAny(const Endpoint& where, steady_clock::time_point deadline,
                                        const std::string& server) {
  // The one thing here without a deadline; in a pod the server is an address.
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int looked_up =
      getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &found);
  const AddressPtr addresses(found);
  if (looked_up != 0) {
    return Fail(Code::kUnavailable, fmt::format("{}: {}", server, gai_strerror(looked_up)));
  }
  Result<platform::UniqueFd> connected = Fail(Code::kUnavailable, server + ": no address");
  for (const addrinfo* one = addresses.get(); one != nullptr; one = one->ai_next) {
    connected = ConnectTo(*one, deadline, server);
    if (connected) break;
  }
  return connected;
}

// The first error is the cause, those after it only its consequences.
std::string TlsReason() {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  std::string text = reason == nullptr ? "connection lost" : reason;
  ERR_clear_error();
  return text;
}

}  // namespace

Result<std::unique_ptr<ByteStream>> ByteStream::Open(const ServerAccess& server,
                                                     TimePoint connected_by, TimePoint deadline) {
  auto fd = ConnectToAny(server.Where(), connected_by, server.Name());
  if (!fd) return Fail(fd.error());
  std::unique_ptr<ByteStream> stream(new ByteStream(std::move(*fd), server.Name()));
  stream->deadline_ = connected_by;
  if (server.Where().tls) {
    if (Status secured = stream->Handshake(server); !secured) return Fail(secured.error());
  }
  stream->deadline_ = deadline;
  return stream;
}

Status ByteStream::Handshake(const ServerAccess& server) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  server.ConfigureTls(context_.get());
  // Buffers move between the tries of a write.
  SSL_CTX_set_mode(context_.get(), SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ssl_.reset(SSL_new(context_.get()));
  if (!IsIpAddress(server.Where().host)) {
    SSL_set_tlsext_host_name(ssl_.get(), server.Where().host.c_str());
  }
  SSL_set_fd(ssl_.get(), fd_.Get());
  while (true) {
    ERR_clear_error();  // of others: SSL_get_error looks there
    const int result = SSL_connect(ssl_.get());
    if (result == 1) return Ok();
    if (Status ready = AwaitTls(result, "TLS handshake"); !ready) return ready;
  }
}

Status ByteStream::AwaitTls(int result, std::string_view doing) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Await(POLLIN);
    case SSL_ERROR_WANT_WRITE:
      return Await(POLLOUT);
    default:
      return Fail(Code::kUnavailable, fmt::format("{}: {}: {}", name_, doing, TlsReason()));
  }
}

Status ByteStream::Await(short events) { return AwaitSocket(fd_.Get(), events, deadline_, name_); }

Status ByteStream::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (ssl_) {
      ERR_clear_error();
      const int sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
      if (sent > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
      } else if (Status ready = AwaitTls(sent, "write"); !ready) {
        return ready;
      }
      continue;
    }
    const ssize_t sent = send(fd_.Get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno != EAGAIN && errno != EINTR) {
      return Fail(Unavailable(name_, "write", errno));
    } else if (Status ready = Await(POLLOUT); !ready) {
      return ready;
    }
  }
  return Ok();
}

Result<std::optional<std::size_t>> ByteStream::ReadTls(std::string& bytes) {
  ERR_clear_error();
  const int got = SSL_read(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  if (got > 0) return std::optional(static_cast<std::size_t>(got));
  if (SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN) return std::optional<std::size_t>(0);
  if (Status ready = AwaitTls(got, "read"); !ready) return Fail(ready.error());
  return std::optional<std::size_t>();
}

Result<std::optional<std::size_t>> ByteStream::ReadPlain(std::string& bytes) {
  const ssize_t got = recv(fd_.Get(), bytes.data(), bytes.size(), 0);
  if (got >= 0) return std::optional(static_cast<std::size_t>(got));
  if (errno != EAGAIN && errno != EINTR) return Fail(Unavailable(name_, "read", errno));
  if (Status ready = Await(POLLIN); !ready) return Fail(ready.error());
  return std::optional<std::size_t>();
}

Result<std::string> ByteStream::Read() {
  std::string bytes(kReadBytes, '\0');
  while (true) {
    // A peer that never stops sending must not outlast the deadline either.
    if (steady_clock::now() >= deadline_) {
      return Fail(Code::kDeadlineExceeded, fmt::format("no answer from {} in time", name_));
    }
    const auto got = ssl_ ? ReadTls(bytes) : ReadPlain(bytes);
    if (!got) return Fail(got.error());
    if (!*got) continue;
    bytes.resize(**got);
    return bytes;
  }
}

}  // namespace sluice::kube
