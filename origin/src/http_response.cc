#include "http_response.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include <curl/curl.h>
#include <fmt/format.h>

#include "sluice/core/timestamp.h"

namespace sluice::origin {
namespace {

constexpr std::string_view kTimePrefix = "mtime:";

bool IsStrongTag(std::string_view tag) {
  return !tag.empty() && tag.size() <= 256 && !tag.starts_with("W/") &&
         !tag.starts_with(kTimePrefix) && std::all_of(tag.begin(), tag.end(), [](char c) {
           return c > ' ' && c < '\x7f' && c != '"';
         });
}

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;
};

bool TakeNumber(std::string_view& text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool TakeLiteral(std::string_view& text, std::string_view literal) {
  if (!text.starts_with(literal)) return false;
  text.remove_prefix(literal.size());
  return true;
}

// "bytes 0-9/100" or "bytes 0-9/*".
std::optional<ContentRange> ParseContentRange(std::string_view text) {
  ContentRange range;
  if (!TakeLiteral(text, "bytes ") || !TakeNumber(text, range.first) || !TakeLiteral(text, "-") ||
      !TakeNumber(text, range.last) || !TakeLiteral(text, "/")) {
    return std::nullopt;
  }
  if (text == "*") return range;
  std::uint64_t total = 0;
  if (!TakeNumber(text, total) || !text.empty()) return std::nullopt;
  range.total = total;
  return range;
}

Verdict Wrong(std::string message) {
  return {Error{Code::kUnavailable, std::move(message)}, Retry::kNo};
}

Verdict Changed() { return {Error{Code::kConflict, "the object has changed"}, Retry::kNo}; }

// Whether the headers that identify the version contradict `object`.
bool IsOtherVersion(const HttpHead& head, const OriginObject& object) {
  if (IsByTime(object.version)) {
    return !head.last_modified.empty() &&
           VersionOf("", object.size, ParseHttpTime(head.last_modified)) != object.version;
  }
  // The version was an ETag, so an answer without one is not proven to be it.
  return VersionOf(head.etag, object.size, {}) != object.version;
}

}  // namespace

KnownRefusal OrdinaryRefusal(int status) {
  switch (status) {
    case 404:
      return {"", Code::kNotFound, Retry::kNo, "not found"};
    case 408:
    case 429:
      return {"", Code::kUnavailable, Retry::kYes, "the server asks to try later"};
    case 412:
      return {"", Code::kConflict, Retry::kNo, "the object has changed"};
    case 416:
      return {"", Code::kConflict, Retry::kNo, "the object has become shorter"};
    case 501:
    case 505:
      return {"", Code::kUnavailable, Retry::kNo, "the server lacks a function that is needed"};
    default:
      if (status >= 500) return {"", Code::kUnavailable, Retry::kYes, "the server has failed"};
      return {"", Code::kUnavailable, Retry::kNo, "unexpected answer"};
  }
}

bool IsByTime(std::string_view version) { return version.starts_with(kTimePrefix); }

std::string VersionOf(std::string_view etag, std::uint64_t size,
                      std::chrono::system_clock::time_point modified) {
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  if (IsStrongTag(etag)) return std::string(etag);
  return fmt::format("{}{}-{}", kTimePrefix, size, std::chrono::system_clock::to_time_t(modified));
}

std::pair<std::string, std::string> ConditionFor(const OriginObject& object) {
  if (IsByTime(object.version)) {
    return {"If-Unmodified-Since", FormatHttpTime(object.modified)};
  }
  return {"If-Match", "\"" + object.version + "\""};
}

std::optional<Verdict> CheckRange(const HttpHead& head, const OriginObject& object,
                                  std::uint64_t offset, std::uint64_t length) {
  return CheckRange(head, object, offset, length, !IsOtherVersion(head, object));
}

std::optional<Verdict> CheckRange(const HttpHead& head, const OriginObject& object,
                                  std::uint64_t offset, std::uint64_t length, bool same_version) {
  const bool whole = offset == 0 && length == object.size;
  if (head.status == 200 && !whole) return Wrong("the server ignored the Range header (HTTP 200)");
  if (head.status != 200 && head.status != 206) {
    return Wrong(fmt::format("unexpected answer (HTTP {})", head.status));
  }
  if (!same_version) return Changed();
  if (head.status == 206) {
    const auto range = ParseContentRange(head.content_range);
    if (!range) return Wrong("the server's Content-Range is missing or malformed");
    if (range->total && *range->total != object.size) return Changed();
    if (range->first != offset || range->last != offset + length - 1) {
      return Wrong(fmt::format("the server answered with bytes {}-{} instead of {}-{}",
                               range->first, range->last, offset, offset + length - 1));
    }
  }
  if (head.content_length && *head.content_length != length) {
    if (head.status == 200) return Changed();
    return Wrong(
        fmt::format("the server announced {} bytes instead of {}", *head.content_length, length));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> TotalOf(std::string_view content_range) {
  if (const auto range = ParseContentRange(content_range)) return range->total;
  std::uint64_t total = 0;
  if (!TakeLiteral(content_range, "bytes */") || !TakeNumber(content_range, total) ||
      !content_range.empty()) {
    return std::nullopt;
  }
  return total;
}

std::chrono::system_clock::time_point ParseHttpTime(const std::string& text) {
  const std::time_t time = curl_getdate(text.c_str(), nullptr);
  return TimeFromUnix(time < 0 ? 0 : time);
}

std::string FormatHttpTime(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const std::size_t length =
      std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text.data(), length};
}

}  // namespace sluice::origin
