// A socket pair that stands for /dev/fuse: whole messages both ways.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "sluice/platform/unique_fd.h"

#include "wire.h"

namespace sluice::fuse_client {

inline constexpr std::uint32_t kLookup = 1;

class FakeKernel {
 public:
  FakeKernel() {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
      own = platform::UniqueFd(ends[0]);
      device = platform::UniqueFd(ends[1]);
    }
    const timeval limit = {.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(own.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ::setsockopt(device.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }
  void Send(std::uint32_t opcode, std::uint64_t unique, std::size_t body = 16) const {
    Send({.opcode = opcode, .unique = unique}, std::vector<std::byte>(body));
  }
  void Send(RequestHeader header, std::span<const std::byte> body) const {
    std::vector<std::byte> message(sizeof(header) + body.size());
    header.length = static_cast<std::uint32_t>(message.size());
    std::memcpy(message.data(), &header, sizeof(header));
    std::ranges::copy(body, message.begin() + sizeof(header));
    ASSERT_EQ(::send(own.Get(), message.data(), message.size(), 0),
              static_cast<ssize_t>(message.size()));
  }
  [[nodiscard]] ReplyHeader Receive() const {
    std::byte buffer[4096];
    ReplyHeader header;
    const ssize_t n = ::recv(own.Get(), buffer, sizeof(buffer), 0);
    if (n >= static_cast<ssize_t>(sizeof(header))) std::memcpy(&header, buffer, sizeof(header));
    return header;
  }
  [[nodiscard]] bool Silent() const {
    char byte = 0;
    return ::recv(own.Get(), &byte, 1, MSG_DONTWAIT) < 0;
  }
  // Makes the client's next write wait until something is received.
  void Congest() const {
    const ReplyHeader junk = {.length = sizeof(junk), .error = kCongestion, .unique = 0};
    while (::send(device.Get(), &junk, sizeof(junk), MSG_DONTWAIT) > 0) {
    }
  }
  // The first message that is not of Congest().
  [[nodiscard]] ReplyHeader ReceiveBehindCongestion() const {
    ReplyHeader header = Receive();
    while (header.error == kCongestion) header = Receive();
    return header;
  }
  static constexpr std::int32_t kCongestion = 99;
  platform::UniqueFd own, device;
};

}  // namespace sluice::fuse_client
