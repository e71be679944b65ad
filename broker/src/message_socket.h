// Whole messages with descriptors over a SOCK_SEQPACKET socket, checked before anybody looks
// inside.
#pragma once

#include <array>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "sluice/broker/protocol.h"
#include "sluice/core/result.h"
#include "sluice/platform/unique_fd.h"

namespace sluice::broker {

class Message {
 public:
  [[nodiscard]] MessageType Type() const;
  // kInvalidArgument when shorter than T or carrying another number of descriptors.
  template <typename T>
  [[nodiscard]] Result<T> As(std::size_t descriptors = 0) const {
    if (size_ < sizeof(T) || fds_.size() != descriptors) {
      return Fail(Code::kInvalidArgument, "message too short, or with other descriptors");
    }
    T out;
    std::memcpy(&out, bytes_.data(), sizeof(T));
    return out;
  }
  // The same for a message without anything of interest in it.
  template <typename T>
  [[nodiscard]] Status Expect() const {
    const auto message = As<T>();
    return message ? Ok() : Status(Fail(message.error()));
  }
  platform::UniqueFd TakeFd(std::size_t index) { return std::move(fds_[index]); }

 private:
  friend Result<std::optional<Message>> Receive(int socket);
  std::array<std::byte, kMaxMessageBytes> bytes_ = {};
  std::size_t size_ = 0;
  std::vector<platform::UniqueFd> fds_;
};

// The next message; nothing when none has arrived (the socket is non-blocking). kUnavailable: the
// peer hung up. kInvalidArgument: the peer sent something that is no message.
Result<std::optional<Message>> Receive(int socket);

Status SendBytes(int socket, std::span<const std::byte> bytes, std::initializer_list<int> fds);

template <typename T>
Status Send(int socket, T message, std::initializer_list<int> fds = {}) {
  message.header.length = sizeof(T);
  message.header.type = static_cast<std::uint16_t>(T::kType);
  return SendBytes(socket, std::as_bytes(std::span(&message, 1)), fds);
}

}  // namespace sluice::broker
