#include "request_bounds.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <optional>

namespace sluice::webhook {
namespace {

constexpr std::string_view kEndOfHead = "\r\n\r\n";
constexpr std::string_view kLastChunk = "0\r\n\r\n";
// Many times a usual one.
constexpr std::size_t kLongestHead = 64U << 10;

// The value of the first header of this name (lower case, with a colon).
std::optional<std::string_view> HeaderOf(std::string_view head, std::string_view name) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  auto line = head.find('\n');
  while (line != std::string_view::npos) {
    const std::string_view rest = head.substr(line + 1);
    if (rest.size() >= name.size() && std::equal(name.begin(), name.end(), rest.begin(),
                                                 [&](char a, char b) { return same(b, a); })) {
      std::string_view value = rest.substr(name.size(), rest.find('\r') - name.size());
      value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
      return value;
    }
    line = head.find('\n', line + 1);
  }
  return std::nullopt;
}

}  // namespace

bool HoldsWholeRequest(std::string_view text) {
  const std::size_t end = text.find(kEndOfHead);
  // Lines that end otherwise are the parser's to refuse.
  if (end == std::string_view::npos) {
    return text.size() > kLongestHead || text.find("\n\n") != std::string_view::npos;
  }
  const std::string_view head = text.substr(0, end + 2);
  const std::string_view body = text.substr(end + kEndOfHead.size());
  if (HeaderOf(head, "transfer-encoding:")) return body.ends_with(kLastChunk);
  const auto value = HeaderOf(head, "content-length:");
  if (!value) return true;
  std::size_t length = 0;
  const auto [last, error] = std::from_chars(value->data(), value->data() + value->size(), length);
  if (error != std::errc() || last != value->data() + value->size()) return true;
  return body.size() >= length;
}

bool WaitsToBeToldToGoOn(std::string_view text) {
  const std::size_t end = text.find(kEndOfHead);
  if (end == std::string_view::npos || end + kEndOfHead.size() != text.size()) return false;
  const auto value = HeaderOf(text.substr(0, end + 2), "expect:");
  return value && value->starts_with("100-continue");
}

}  // namespace sluice::webhook
