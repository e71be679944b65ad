#include "websocket.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>

namespace sluice::kube::websocket {
namespace {

// From the RFC: what a server appends to the key, to show that it knows the protocol.
constexpr std::string_view kAcceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t kMaxControlPayload = 125;
constexpr std::uint8_t kFinal = 0x80;
constexpr std::uint8_t kReserved = 0x70;
constexpr std::uint8_t kMasked = 0x80;
constexpr std::uint8_t kTwoByteLength = 126;
constexpr std::uint8_t kEightByteLength = 127;

Error Broken(std::string what) { return {Code::kUnavailable, "WebSocket: " + std::move(what)}; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::uint8_t ByteAt(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

bool IsControl(Opcode opcode) { return static_cast<std::uint8_t>(opcode) >= 8; }

bool IsKnown(std::uint8_t opcode) { return opcode <= 2 || (opcode >= 8 && opcode <= 10); }

struct Length {
  std::uint64_t payload = 0;
  std::size_t header = 2;  // bytes before the payload
};

// The lengths in a frame's head; nothing when it is not whole yet.
std::optional<Length> LengthOf(std::string_view bytes) {
  const std::uint8_t small = ByteAt(bytes, 1) & 0x7FU;
  if (small < kTwoByteLength) return Length{.payload = small};
  const std::size_t extra = small == kEightByteLength ? 8 : 2;
  if (bytes.size() < 2 + extra) return std::nullopt;
  Length length{.header = 2 + extra};
  for (std::size_t i = 0; i < extra; ++i) {
    length.payload = length.payload << 8U | ByteAt(bytes, 2 + i);
  }
  return length;
}

}  // namespace

std::string AcceptFor(const std::string& key) {
  const std::string text = key + std::string(kAcceptSuffix);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  std::array<unsigned char, 2UL * EVP_MAX_MD_SIZE> base64{};
  const int length = EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(size));
  return {reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(length)};
}

std::string UpgradeHeaders(const std::string& key, const std::vector<std::string>& protocols) {
  return fmt::format(
      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: {}\r\n",
      key, fmt::join(protocols, ", "));
}

std::string AnswerHead::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return "";
}

Result<AnswerHead> ParseAnswerHead(std::string_view head) {
  AnswerHead answer;
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  const auto first_end = head.find("\r\n");
  const std::string_view first = head.substr(0, first_end);
  const char* const begin = first.data() + std::min(first.size(), kVersion.size());
  const auto [end, error] = std::from_chars(begin, first.data() + first.size(), answer.status);
  if (!first.starts_with(kVersion) || error != std::errc() || end - begin != 3) {
    return Fail(Broken("the answer is no HTTP/1.1"));
  }
  while (head.find("\r\n") != std::string_view::npos) {
    head.remove_prefix(head.find("\r\n") + 2);
    const std::string_view line = head.substr(0, head.find("\r\n"));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    answer.headers.emplace_back(Lower(line.substr(0, colon)),
                                std::string(Trimmed(line.substr(colon + 1))));
  }
  return answer;
}

Result<std::string> AcceptedProtocol(const AnswerHead& head, const std::string& key,
                                     const std::vector<std::string>& protocols) {
  if (head.status != 101 || Lower(head.Header("upgrade")) != "websocket") {
    return Fail(Broken(fmt::format("no upgrade (HTTP {})", head.status)));
  }
  if (head.Header("sec-websocket-accept") != AcceptFor(key)) {
    return Fail(Broken("the answer belongs to another request"));
  }
  std::string protocol = head.Header("sec-websocket-protocol");
  if (std::find(protocols.begin(), protocols.end(), protocol) == protocols.end()) {
    return Fail(Broken(fmt::format("the server speaks none of {}", fmt::join(protocols, ", "))));
  }
  return protocol;
}

std::string EncodeFrame(Opcode opcode, std::string_view payload,
                        const std::array<std::uint8_t, 4>& mask) {
  std::string frame(1, static_cast<char>(kFinal | static_cast<std::uint8_t>(opcode)));
  std::size_t extra = 0;
  if (payload.size() < kTwoByteLength) {
    frame += static_cast<char>(kMasked | payload.size());
  } else if (payload.size() <= 0xFFFF) {
    frame += static_cast<char>(kMasked | kTwoByteLength);
    extra = 2;
  } else {
    frame += static_cast<char>(kMasked | kEightByteLength);
    extra = 8;
  }
  for (std::size_t i = extra; i-- > 0;) {
    frame += static_cast<char>((static_cast<std::uint64_t>(payload.size()) >> (8 * i)) & 0xFFU);
  }
  for (const std::uint8_t byte : mask) frame += static_cast<char>(byte);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(ByteAt(payload, i) ^ mask.at(i % mask.size()));
  }
  return frame;
}

Result<std::optional<Decoder::Frame>> Decoder::TakeFrame() {
  if (pending_.size() < 2) return std::optional<Frame>();
  const std::uint8_t first = ByteAt(pending_, 0);
  const std::uint8_t opcode = first & 0x0FU;
  if ((first & kReserved) != 0 || !IsKnown(opcode)) return Fail(Broken("an unknown kind of frame"));
  if ((ByteAt(pending_, 1) & kMasked) != 0) return Fail(Broken("a masked frame from a server"));
  Frame frame{.final = (first & kFinal) != 0, .opcode = static_cast<Opcode>(opcode)};
  const auto length = LengthOf(pending_);
  if (!length) return std::optional<Frame>();
  if (IsControl(frame.opcode) && (!frame.final || length->payload > kMaxControlPayload)) {
    return Fail(Broken("a control frame that is too large or split"));
  }
  // Before anything is kept for it.
  if (length->payload > max_message_) {
    return Fail(Broken(fmt::format("a frame over {} bytes", max_message_)));
  }
  const auto payload = static_cast<std::size_t>(length->payload);
  if (pending_.size() < length->header + payload) return std::optional<Frame>();
  frame.payload = pending_.substr(length->header, payload);
  pending_.erase(0, length->header + payload);
  return std::optional<Frame>(std::move(frame));
}

Result<std::optional<Message>> Decoder::Next() {
  if (broken_) return Fail(*broken_);
  const auto fail = [this](Error error) -> Result<std::optional<Message>> {
    broken_ = std::move(error);
    pending_.clear();
    return Fail(*broken_);
  };
  while (true) {
    auto taken = TakeFrame();
    if (!taken) return fail(taken.error());
    if (!*taken) return std::optional<Message>();
    Frame& frame = **taken;
    if (IsControl(frame.opcode)) {
      return std::optional<Message>(
          Message{.opcode = frame.opcode, .payload = std::move(frame.payload)});
    }
    const bool continues = frame.opcode == Opcode::kContinuation;
    if (continues != partial_.has_value()) return fail(Broken("parts of messages out of order"));
    if (!partial_) partial_ = Message{.opcode = frame.opcode};
    if (partial_->payload.size() + frame.payload.size() > max_message_) {
      return fail(Broken(fmt::format("a message over {} bytes", max_message_)));
    }
    partial_->payload += frame.payload;
    if (!frame.final) continue;
    std::optional<Message> whole = std::move(partial_);
    partial_.reset();
    return whole;
  }
}

}  // namespace sluice::kube::websocket
