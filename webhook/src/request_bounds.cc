#include "request_bounds.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <optional>

namespace sluice::webhook {
namespace {

constexpr std::string_view kEndOfLine = "\r\n";
constexpr std::string_view kEndOfHead = "\r\n\r\n";
constexpr std::size_t kLongestChunkLine = 1024;

bool SameButForCase(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == b;
  });
}

std::string_view Trimmed(std::string_view text) {
  constexpr const char* kBlanks = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  text.remove_suffix(text.size() - (text.find_last_not_of(kBlanks) + 1));
  return text;
}

// The value of the first header of this name (lower case, with a colon).
std::optional<std::string_view> HeaderOf(std::string_view head, std::string_view name) {
  for (auto line = head.find('\n'); line != std::string_view::npos;
       line = head.find('\n', line + 1)) {
    const std::string_view rest = head.substr(line + 1);
    if (!SameButForCase(rest.substr(0, name.size()), name)) continue;
    return Trimmed(rest.substr(name.size(), rest.find('\r') - name.size()));
  }
  return std::nullopt;
}

// Digits and nothing else.
std::optional<std::size_t> NumberIn(std::string_view text, int base) {
  std::size_t number = 0;
  const char* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number, base);
  if (error != std::errc() || last != end) return std::nullopt;
  return number;
}

bool HasBareLineFeed(std::string_view text) {
  auto at = text.find('\n');
  while (at != std::string_view::npos) {
    if (at == 0 || text[at - 1] != '\r') return true;
    at = text.find('\n', at + 1);
  }
  return false;
}

}  // namespace

RequestBounds::State RequestBounds::Look(std::string_view text) {
  if (chunk_ > 0) return LookAtChunks(text);
  const std::size_t end = text.find(kEndOfHead);
  const std::string_view head = text.substr(0, end == std::string_view::npos ? end : end + 2);
  if (head.size() > kMaxHeadBytes || HasBareLineFeed(head)) return State::kMalformed;
  if (end == std::string_view::npos) return State::kUnfinished;
  const std::size_t body = end + kEndOfHead.size();
  if (const auto coding = HeaderOf(head, "transfer-encoding:")) {
    if (!SameButForCase(*coding, "chunked")) return State::kMalformed;
    chunk_ = body;
    return LookAtChunks(text);
  }
  const auto length = NumberIn(HeaderOf(head, "content-length:").value_or("0"), 10);
  if (!length) return State::kMalformed;
  return text.size() - body >= *length ? State::kWhole : State::kUnfinished;
}

// A chunk is "SIZE[;EXTENSION]\r\nDATA\r\n"; the last has size 0, and lines up to an empty one.
RequestBounds::State RequestBounds::LookAtChunks(std::string_view text) {
  while (true) {
    const std::string_view rest = text.substr(chunk_);
    const std::size_t line = rest.find(kEndOfLine);
    if (line == std::string_view::npos) {
      return rest.size() > kLongestChunkLine ? State::kMalformed : State::kUnfinished;
    }
    const auto size = NumberIn(Trimmed(rest.substr(0, std::min(rest.find(';'), line))), 16);
    if (!size) return State::kMalformed;
    if (*size == 0) {
      if (rest.find(kEndOfHead, line) != std::string_view::npos) return State::kWhole;
      return rest.size() > kMaxHeadBytes ? State::kMalformed : State::kUnfinished;
    }
    const std::size_t data = line + kEndOfLine.size();
    const std::size_t left = rest.size() - data;
    if (left < kEndOfLine.size() || left - kEndOfLine.size() < *size) return State::kUnfinished;
    if (rest.substr(data + *size, kEndOfLine.size()) != kEndOfLine) return State::kMalformed;
    chunk_ += data + *size + kEndOfLine.size();
  }
}

bool WaitsToBeToldToGoOn(std::string_view text) {
  const std::size_t end = text.find(kEndOfHead);
  if (end == std::string_view::npos || end + kEndOfHead.size() != text.size()) return false;
  const auto value = HeaderOf(text.substr(0, end + 2), "expect:");
  return value && value->starts_with("100-continue");
}

}  // namespace sluice::webhook
