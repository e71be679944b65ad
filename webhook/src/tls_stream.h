// One TLS connection as httplib wants to see it, with a deadline for every request. What the peer
// has not sent yet is waited for without a thread: Shake, Fill and Discard go as far as they can,
// and httplib reads what Fill took in, nothing else.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <httplib.h>
#include <openssl/ssl.h>

#include "sluice/platform/openssl.h"

#include "request_bounds.h"
#include "request_memory.h"

namespace sluice::webhook {

class TlsStream final : public httplib::Stream {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // The socket must be non-blocking and stays the caller's. What requests hold beyond a usual one's
  // size is taken from `memory`.
  TlsStream(SSL_CTX* context, int socket, RequestMemory& memory);
  ~TlsStream() override;
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  enum class Progress { kDone, kWantsRead, kWantsWrite, kFailed, kMalformed, kNoMemory };
  // Goes on with the handshake.
  Progress Shake();
  // Takes in what has come of a request. kDone: it is whole, or `max_bytes` long and to be cut off.
  // kFailed: the peer is gone. kMalformed: it has no end. kNoMemory: none is left for so long a
  // one. What was taken in of the latter two cannot be answered, only refused.
  Progress Fill(std::size_t max_bytes);
  // Whether a request has begun to come.
  [[nodiscard]] bool HasBegun() const { return position_ < buffer_.size(); }
  // Whether more was received than was read.
  [[nodiscard]] bool HasMore() const { return HasBegun() || SSL_has_pending(ssl_.get()) == 1; }
  // From now on writes may take until `deadline`.
  void BeginRequest(TimePoint deadline);
  // Sends what was written, and gives back the request's memory. Until then it is held back, so
  // that an answer's head and body are one record and one packet. False when it was not sent.
  bool EndRequest();
  // Answers a request that Fill did not take in whole, as far as there is room for that.
  void Refuse(std::string_view answer);
  // Whether a request was refused, or has ended before httplib had read it: what comes next on this
  // connection is no request.
  [[nodiscard]] bool IsBroken() const { return broken_; }
  // Tells the peer that nothing follows.
  void Goodbye();
  // Throws away what comes after Goodbye. False when there is nobody to wait for any more. Closing
  // over unread bytes would reset the connection before the peer has read its answer.
  [[nodiscard]] bool Discard() const;

  bool is_readable() const override;                      // NOLINT(readability-identifier-naming)
  bool is_writable() const override;                      // NOLINT(readability-identifier-naming)
  ssize_t read(char* data, size_t size) override;         // NOLINT(readability-identifier-naming)
  ssize_t write(const char* data, size_t size) override;  // NOLINT(readability-identifier-naming)
  // NOLINTNEXTLINE(readability-identifier-naming)
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  // NOLINTNEXTLINE(readability-identifier-naming)
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }  // NOLINT(readability-identifier-naming)

 private:
  // Waits until the operation that returned `result` can go on. False at the deadline or on an
  // error.
  bool WaitFor(int result, TimePoint deadline) const;
  // Whether all was sent.
  bool Flush();
  // Whether there is memory for so much more of a request.
  bool MakeRoom(std::size_t size);
  void DropWhatWasRead();

  Progress ProgressOf(int result) const;

  platform::OpenSslPtr<SSL, SSL_free> ssl_;
  std::string buffer_;        // taken in by Fill
  std::size_t position_ = 0;  // in the buffer: what comes next was not read yet
  RequestMemory& memory_;
  std::size_t taken_ = 0;  // of `memory_`
  RequestBounds bounds_;
  bool told_to_go_on_ = false;
  std::string unsent_;  // written and not sent yet
  int socket_;
  TimePoint deadline_;
  bool broken_ = false;
};

}  // namespace sluice::webhook
