#include "url.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "sluice/core/mount_options.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxUrl = 16U << 10;

char LowerCase(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

Error Malformed(std::string_view why) {
  return {Code::kInvalidArgument, "the URL " + std::string(why)};
}

bool IsHostByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

Status TakeAuthority(std::string_view authority, Url& url) {
  if (authority.find('@') != std::string_view::npos) {
    return Fail(Malformed("must not carry credentials"));
  }
  std::size_t colon = std::string_view::npos;
  if (authority.starts_with('[')) {
    const std::size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return Fail(Malformed("has an unclosed '['"));
    const std::string_view address = authority.substr(1, bracket - 1);
    if (address.empty() ||
        address.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) {
      return Fail(Malformed("has a malformed address"));
    }
    if (bracket + 1 < authority.size()) {
      if (authority[bracket + 1] != ':') return Fail(Malformed("has a malformed port"));
      colon = bracket + 1;
    }
  } else {
    colon = authority.find(':');
  }
  url.host = LowerCased(authority.substr(0, colon));
  if (!url.host.starts_with('[') &&
      (url.host.empty() || !std::all_of(url.host.begin(), url.host.end(), IsHostByte))) {
    return Fail(Malformed("has no host name or a malformed one"));
  }
  if (colon == std::string_view::npos) return Ok();
  const std::string_view port = authority.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number == 0 || number > 65535) {
    return Fail(Malformed("has a malformed port"));
  }
  if (number != (url.scheme == "https" ? 443U : 80U)) url.port = std::to_string(number);
  return Ok();
}

void TakePathAndQuery(std::string_view rest, Url& url) {
  rest = rest.substr(0, rest.find('#'));
  const std::size_t mark = rest.find('?');
  url.path = rest.substr(0, mark);
  if (url.path.empty()) url.path = "/";
  url.query = mark == std::string_view::npos ? "" : rest.substr(mark);
}

// RFC 3986, 5.2.4: what cannot go up further stays at the root.
std::string WithoutDots(std::string_view path) {
  std::vector<std::string_view> parts;
  bool directory = false;
  for (std::string_view left = path.substr(1);;) {
    const std::size_t slash = left.find('/');
    const std::string_view part = left.substr(0, slash);
    directory = part == "." || part == "..";
    if (part == ".." && !parts.empty()) parts.pop_back();
    if (!directory) parts.push_back(part);
    if (slash == std::string_view::npos) break;
    left.remove_prefix(slash + 1);
  }
  std::string text;
  for (const std::string_view part : parts) {
    text += '/';
    text += part;
  }
  return directory || text.empty() ? text + "/" : text;
}

}  // namespace

std::string LowerCased(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), LowerCase);
  return lower;
}

std::string Url::Server() const { return scheme + "://" + host + (port.empty() ? "" : ":" + port); }

Result<Url> ParseUrl(std::string_view text) {
  if (text.size() > kMaxUrl) return Fail(Malformed("is longer than 16 KiB"));
  if (!IsUrlText(text)) {
    return Fail(Malformed("has characters that must be percent-encoded"));
  }
  Url url;
  const std::size_t mark = text.find("://");
  url.scheme = LowerCased(text.substr(0, mark));
  if (mark == std::string_view::npos || (url.scheme != "http" && url.scheme != "https")) {
    return Fail(Malformed("must begin with http:// or https://"));
  }
  const std::string_view rest = text.substr(mark + 3);
  const std::size_t end = rest.find_first_of("/?#");
  if (auto status = TakeAuthority(rest.substr(0, end), url); !status) return Fail(status.error());
  TakePathAndQuery(end == std::string_view::npos ? "" : rest.substr(end), url);
  return url;
}

bool HasScheme(std::string_view reference) {
  const std::size_t end = reference.find_first_of(":/?#");
  return end != std::string_view::npos && reference[end] == ':';
}

Result<Url> Resolve(const Url& base, std::string_view reference) {
  std::string text;
  if (HasScheme(reference)) {
    text = reference;
  } else if (reference.starts_with("//")) {
    text = base.scheme + ":";
    text += reference;
  } else if (reference.starts_with('/')) {
    text = base.Server();
    text += reference;
  } else if (reference.empty() || reference.starts_with('#')) {
    text = base.Text();
  } else if (reference.starts_with('?')) {
    text = base.Server() + base.path;
    text += reference;
  } else {
    text = base.Server() + base.path.substr(0, base.path.rfind('/') + 1);
    text += reference;
  }
  auto url = ParseUrl(text);
  if (url) url->path = WithoutDots(url->path);
  return url;
}

Result<Url> RedirectTarget(std::string_view from, std::string_view location) {
  const auto base = ParseUrl(from);
  auto target = base ? Resolve(*base, location) : base;
  if (!target) {
    return Fail(Code::kUnavailable, "the server redirects to a place that is no http or https URL");
  }
  if (base->scheme == "https" && target->scheme != "https") {
    return Fail(Code::kUnavailable,
                "the server redirects from https to http, which is not followed");
  }
  return target;
}

bool MayCarryCredentials(std::string_view from, const Url& to) {
  const auto base = ParseUrl(from);
  if (!base || base->host != to.host) return false;
  if (base->scheme == to.scheme) return base->port == to.port;
  return base->scheme == "http" && base->port.empty() && to.port.empty();
}

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc() || digits.size() != 2 || end != digits.data() + 2) {
      return std::nullopt;
    }
    decoded += static_cast<char>(value);
    i += 2;
  }
  return decoded;
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace sluice::origin
