#include "tls_stream.h"

#include <arpa/inet.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <climits>
#include <openssl/err.h>

namespace sluice::webhook {
namespace {

// Every connection may hold so much of a request: many times a usual one.
constexpr std::size_t kFreeBytes = 64U << 10;

// What is written is sent when it is so much: four full records.
constexpr std::size_t kMostUnsent = 64U << 10;

// What of so many bytes comes out of the memory that all connections share.
std::size_t SharedBytes(std::size_t size) { return size > kFreeBytes ? size - kFreeBytes : 0; }

int MillisecondsUntil(TlsStream::TimePoint deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, INT_MAX));
}

// Waits for `events` on the socket.
bool PollUntil(int socket, short events, TlsStream::TimePoint deadline) {
  while (true) {
    pollfd fd{socket, events, 0};
    const int ready = ::poll(&fd, 1, MillisecondsUntil(deadline));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

void Describe(const sockaddr_storage& address, std::string& ip, int& port) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address);
    ::inet_ntop(AF_INET, &in->sin_addr, text.data(), text.size());
    port = ntohs(in->sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(&address);
    ::inet_ntop(AF_INET6, &in->sin6_addr, text.data(), text.size());
    port = ntohs(in->sin6_port);
  }
  ip = text.data();
}

}  // namespace

TlsStream::TlsStream(SSL_CTX* context, int socket, RequestMemory& memory)
    : ssl_(SSL_new(context)), memory_(memory), socket_(socket) {
  if (ssl_) SSL_set_fd(ssl_.get(), socket);
}

TlsStream::~TlsStream() { memory_.GiveBack(taken_); }

bool TlsStream::WaitFor(int result, TimePoint deadline) const {
  const int error = SSL_get_error(ssl_.get(), result);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ) return PollUntil(socket_, POLLIN, deadline);
  if (error == SSL_ERROR_WANT_WRITE) return PollUntil(socket_, POLLOUT, deadline);
  return false;
}

TlsStream::Progress TlsStream::ProgressOf(int result) const {
  const int error = SSL_get_error(ssl_.get(), result);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ) return Progress::kWantsRead;
  return error == SSL_ERROR_WANT_WRITE ? Progress::kWantsWrite : Progress::kFailed;
}

TlsStream::Progress TlsStream::Shake() {
  if (!ssl_) return Progress::kFailed;
  const int result = SSL_accept(ssl_.get());
  return result == 1 ? Progress::kDone : ProgressOf(result);
}

bool TlsStream::MakeRoom(std::size_t size) {
  const std::size_t wanted = SharedBytes(buffer_.size() + size);
  if (wanted <= taken_) return true;
  if (!memory_.Take(wanted - taken_)) return false;
  taken_ = wanted;
  return true;
}

void TlsStream::DropWhatWasRead() {
  buffer_.erase(0, std::exchange(position_, 0));
  bounds_ = {};
  if (buffer_.capacity() > kFreeBytes) buffer_.shrink_to_fit();
  const std::size_t needed = std::min(taken_, SharedBytes(buffer_.size()));
  memory_.GiveBack(taken_ - needed);
  taken_ = needed;
}

TlsStream::Progress TlsStream::Fill(std::size_t max_bytes) {
  constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
  std::array<char, 16384> part;  // NOLINT(cppcoreguidelines-pro-type-member-init): written first
  while (buffer_.size() < max_bytes) {
    const RequestBounds::State state = bounds_.Look(buffer_);
    if (state == RequestBounds::State::kWhole) return Progress::kDone;
    if (state == RequestBounds::State::kMalformed) return Progress::kMalformed;
    if (!told_to_go_on_ && WaitsToBeToldToGoOn(buffer_)) {
      told_to_go_on_ = true;
      const int told = SSL_write(ssl_.get(), kGoOn.data(), static_cast<int>(kGoOn.size()));
      if (told <= 0) return Progress::kFailed;  // so little has room in any connection that lives
    }
    const int result = SSL_read(ssl_.get(), part.data(), static_cast<int>(part.size()));
    if (result <= 0) return ProgressOf(result);
    if (!MakeRoom(static_cast<std::size_t>(result))) return Progress::kNoMemory;
    buffer_.append(part.data(), static_cast<std::size_t>(result));
  }
  return Progress::kDone;
}

void TlsStream::BeginRequest(TimePoint deadline) {
  deadline_ = deadline;
  told_to_go_on_ = false;
}

void TlsStream::Refuse(std::string_view answer) {
  SSL_write(ssl_.get(), answer.data(), static_cast<int>(answer.size()));
  ERR_clear_error();
  buffer_ = {};
  position_ = 0;
  memory_.GiveBack(std::exchange(taken_, 0));
  broken_ = true;
}

void TlsStream::Goodbye() {
  if (!ssl_) return;
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  if (broken_) ::shutdown(socket_, SHUT_WR);
}

bool TlsStream::Discard() const {
  constexpr int kMostAtOnce = 64;     // others want the thread, too
  std::array<char, 16384> discarded;  // NOLINT(cppcoreguidelines-pro-type-member-init): not read
  for (int i = 0; i < kMostAtOnce; ++i) {
    const ssize_t size = ::recv(socket_, discarded.data(), discarded.size(), MSG_DONTWAIT);
    if (size <= 0) return size < 0 && (errno == EAGAIN || errno == EINTR);
  }
  return true;
}

bool TlsStream::is_readable() const { return HasBegun(); }

bool TlsStream::is_writable() const { return PollUntil(socket_, POLLOUT, deadline_); }

ssize_t TlsStream::read(char* data, size_t size) {
  if (HasBegun()) {
    const std::size_t copied = buffer_.copy(data, size, position_);
    position_ += copied;
    return static_cast<ssize_t>(copied);
  }
  broken_ = true;
  return -1;
}

ssize_t TlsStream::write(const char* data, size_t size) {
  unsent_.append(data, size);
  if (unsent_.size() >= kMostUnsent && !Flush()) return -1;
  return static_cast<ssize_t>(size);
}

bool TlsStream::EndRequest() {
  DropWhatWasRead();
  return Flush();
}

bool TlsStream::Flush() {
  const std::string sent = std::exchange(unsent_, {});
  std::string_view left = sent;
  while (!left.empty()) {
    if (std::chrono::steady_clock::now() >= deadline_) return false;
    const auto wanted = static_cast<int>(std::min<std::size_t>(left.size(), INT_MAX));
    const int result = SSL_write(ssl_.get(), left.data(), wanted);
    if (result > 0) {
      left.remove_prefix(static_cast<std::size_t>(result));
    } else if (!WaitFor(result, deadline_)) {
      return false;
    }
  }
  return true;
}

void TlsStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    Describe(address, ip, port);
  }
}

void TlsStream::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    Describe(address, ip, port);
  }
}

}  // namespace sluice::webhook
