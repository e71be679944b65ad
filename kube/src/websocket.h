// The client's side of WebSocket (RFC 6455), without I/O: what to send, and what received bytes
// mean. Debian's httplib has no client of it. Whatever the bytes are, the result is a value or an
// Error.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/core/result.h"

namespace sluice::kube::websocket {

// ---- opening

// The request's headers that ask for the upgrade, each ended by CRLF. `key` is 16 random bytes in
// base64.
std::string UpgradeHeaders(const std::string& key, const std::vector<std::string>& protocols);

// What a server that takes the key must answer in Sec-WebSocket-Accept.
std::string AcceptFor(const std::string& key);

// A head, status line to the empty line, of an HTTP answer.
struct AnswerHead {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case

  // The first header of the name (lower case); "" when there is none.
  [[nodiscard]] std::string Header(std::string_view name) const;
};
// kUnavailable for what is no HTTP/1.1 head.
Result<AnswerHead> ParseAnswerHead(std::string_view head);

// The protocol that a 101 answer chose; kUnavailable when it does not fit to key or protocols.
Result<std::string> AcceptedProtocol(const AnswerHead& head, const std::string& key,
                                     const std::vector<std::string>& protocols);

// ---- frames

enum class Opcode : std::uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

struct Message {
  Opcode opcode = Opcode::kBinary;  // never kContinuation
  std::string payload = {};
};

// One final frame, masked as those of a client must be.
std::string EncodeFrame(Opcode opcode, std::string_view payload,
                        const std::array<std::uint8_t, 4>& mask);

// Puts the frames of a server together to messages. After an error it gives only errors.
class Decoder {
 public:
  explicit Decoder(std::size_t max_message) : max_message_(max_message) {}

  void Append(std::string_view bytes) { pending_ += bytes; }
  // The next whole message; nothing: more bytes are needed. kUnavailable for frames that break the
  // protocol or a message over the limit. Control messages come between the parts of others.
  Result<std::optional<Message>> Next();

 private:
  struct Frame {
    bool final = false;
    Opcode opcode = Opcode::kBinary;
    std::string payload = {};
  };
  Result<std::optional<Frame>> TakeFrame();

  const std::size_t max_message_;
  std::string pending_;
  std::optional<Message> partial_;
  std::optional<Error> broken_;
};

}  // namespace sluice::kube::websocket
