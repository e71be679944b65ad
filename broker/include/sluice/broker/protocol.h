// The messages between a holder and its clients, byte for byte (docs/broker-protocol.md). Both ends
// are on one machine: native byte order. One message per SOCK_SEQPACKET packet; a receiver takes
// longer messages than it knows and ignores their tail, so fields may be added at the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/core/result.h"

namespace sluice::broker {

inline constexpr std::uint16_t kProtocolVersion = 1;
inline constexpr std::size_t kMaxMessageBytes = 2048;
inline constexpr std::size_t kMaxFailureText = 1024;

enum class MessageType : std::uint16_t {
  kHello = 1,
  kBundle = 2,
  kDeposit = 3,
  kResult = 4,
  kReady = 5,
  kFailure = 6,
  kBackingOpen = 7,
  kBackingClose = 8,
};

struct MessageHeader {
  std::uint32_t length = 0;  // of the whole message
  std::uint16_t type = 0;
  std::uint16_t version = kProtocolVersion;
};

// Client: I want to serve. Answered by kBundle once no other client is connected.
struct HelloMessage {
  static constexpr MessageType kType = MessageType::kHello;
  MessageHeader header;
  std::uint64_t reserved = 0;
};

// Holder, with two descriptors: /dev/fuse, state memfd.
struct BundleMessage {
  static constexpr MessageType kType = MessageType::kBundle;
  MessageHeader header;
  std::uint64_t epoch = 0;
};

// Client, with the same two descriptors, after the holder was restarted. Answered by kResult.
struct DepositMessage {
  static constexpr MessageType kType = MessageType::kDeposit;
  MessageHeader header;
  std::uint64_t request_id = 0;
  std::uint64_t epoch = 0;
  std::uint32_t ready = 0;  // 1: has reported kReady before
  std::uint32_t reserved = 0;
};

// Holder: the answer to the request with this id.
struct ResultMessage {
  static constexpr MessageType kType = MessageType::kResult;
  MessageHeader header;
  std::uint64_t request_id = 0;
  std::int32_t error = 0;  // 0 or an errno
  std::int32_t value = 0;
};

// Client: the file system answers.
struct ReadyMessage {
  static constexpr MessageType kType = MessageType::kReady;
  MessageHeader header;
  std::uint64_t reserved = 0;
};

// Client: it does not, and why.
struct FailureMessage {
  static constexpr MessageType kType = MessageType::kFailure;
  MessageHeader header;
  std::uint32_t code = 0;  // WireCode
  std::uint32_t text_length = 0;
  char text[kMaxFailureText] = {};
};

// Client, with one descriptor: a complete cache file. The result's value is the backing id.
struct BackingOpenMessage {
  static constexpr MessageType kType = MessageType::kBackingOpen;
  MessageHeader header;
  std::uint64_t request_id = 0;
  std::uint64_t node_id = 0;
};

// Client: the last open of that file is gone.
struct BackingCloseMessage {
  static constexpr MessageType kType = MessageType::kBackingClose;
  MessageHeader header;
  std::uint64_t request_id = 0;
  std::int32_t backing_id = 0;
  std::uint32_t reserved = 0;
};

static_assert(sizeof(MessageHeader) == 8);
static_assert(sizeof(DepositMessage) == 32);
static_assert(sizeof(ResultMessage) == 24);
static_assert(sizeof(FailureMessage) == 16 + kMaxFailureText);
static_assert(sizeof(FailureMessage) <= kMaxMessageBytes);

// Codes as numbers that never change.
std::uint32_t WireCode(Code code);
Code CodeFromWire(std::uint32_t number);  // kInternal for unknown numbers

}  // namespace sluice::broker
