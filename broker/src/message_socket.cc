#include "message_socket.h"

#include <sys/socket.h>

#include <cerrno>

#include <fmt/format.h>

namespace sluice::broker {
namespace {

constexpr std::size_t kMaxDescriptors = 4;

void TakeDescriptors(msghdr& header, std::vector<platform::UniqueFd>& out) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      out.emplace_back(fd);
    }
  }
}

}  // namespace

std::uint32_t WireCode(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return 1;
    case Code::kNotFound:
      return 2;
    case Code::kAlreadyExists:
      return 3;
    case Code::kConflict:
      return 4;
    case Code::kPermissionDenied:
      return 5;
    case Code::kUnavailable:
      return 6;
    case Code::kDeadlineExceeded:
      return 7;
    case Code::kInternal:
      return 8;
  }
  return 8;
}

Code CodeFromWire(std::uint32_t number) {
  for (const Code code :
       {Code::kInvalidArgument, Code::kNotFound, Code::kAlreadyExists, Code::kConflict,
        Code::kPermissionDenied, Code::kUnavailable, Code::kDeadlineExceeded}) {
    if (WireCode(code) == number) return code;
  }
  return Code::kInternal;
}

MessageType Message::Type() const {
  MessageHeader header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  return static_cast<MessageType>(header.type);
}

Result<std::optional<Message>> Receive(int socket) {
  Message message;
  iovec buffer = {message.bytes_.data(), message.bytes_.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  msghdr header = {};
  header.msg_iov = &buffer;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const ssize_t n = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::optional<Message>();
  if (n < 0) return Fail(Code::kUnavailable, fmt::format("receive: {}", std::strerror(errno)));
  TakeDescriptors(header, message.fds_);
  if (n == 0) return Fail(Code::kUnavailable, "the peer hung up");

  message.size_ = static_cast<std::size_t>(n);
  MessageHeader head;
  if (message.size_ < sizeof(head) || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Fail(Code::kInvalidArgument, fmt::format("message of {} bytes", n));
  }
  std::memcpy(&head, message.bytes_.data(), sizeof(head));
  if (head.length != message.size_ || head.version != kProtocolVersion) {
    return Fail(Code::kInvalidArgument, fmt::format("message of {} bytes says {} bytes, version {}",
                                                    n, head.length, head.version));
  }
  return std::optional<Message>(std::move(message));
}

Status SendBytes(int socket, std::span<const std::byte> bytes, std::initializer_list<int> fds) {
  iovec buffer = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  msghdr header = {};
  header.msg_iov = &buffer;
  header.msg_iovlen = 1;
  if (fds.size() > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), std::data(fds), fds.size() * sizeof(int));
  }
  if (::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    return Fail(Code::kUnavailable, fmt::format("send: {}", std::strerror(errno)));
  }
  return Ok();
}

}  // namespace sluice::broker
