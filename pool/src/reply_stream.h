// The bytes that a worker sends, cut into replies. Values go straight to where the caller wants
// them: only a reply's line, and what came with it by chance, is copied.
//
// Pure: the owner receives the bytes into Room() and says how many came.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sluice/core/result.h"

#include "reply.h"

namespace sluice::pool {

class ReplyStream {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A reply's line. Returns where its value goes: as many bytes as the reply says, or none to
    // have it thrown away. `reply.text` is valid during the call.
    virtual Result<std::span<std::byte>> OnReply(const Reply& reply) = 0;
    // The reply and its value are there.
    virtual Status OnComplete() = 0;
  };

  static constexpr std::size_t kLongestLine = 1'024;  // with its end

  explicit ReplyStream(Handler& handler) : handler_(handler) {}

  // Where the next bytes are to be put, first `value`, then `lines`. `lines` may be empty when
  // `value` is not.
  struct Room {
    std::span<std::byte> value;
    std::span<std::byte> lines;
  };
  Room NextRoom();
  // `count` bytes were put there. An error (kUnavailable for what is not memcached's protocol, or
  // the handler's) is final: the connection is to be closed.
  Status Received(std::size_t count);

 private:
  enum class State { kLine, kValue, kValueEnd };
  Status Step(bool& progress);
  Status TakeLine(bool& progress);
  Status TakeValueEnd(bool& progress);
  void MoveToValue();
  [[nodiscard]] std::span<const std::byte> Buffered() const;

  Handler& handler_;
  State state_ = State::kLine;
  std::span<std::byte> value_;    // still to be filled; empty when thrown away
  std::uint64_t value_left_ = 0;  // bytes of the value that are still to come
  std::array<std::byte, kLongestLine> buffer_{};
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::vector<std::byte> waste_;  // made when first needed
};

}  // namespace sluice::pool
