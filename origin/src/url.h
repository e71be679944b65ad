// URLs of web servers: taken apart, put together, and links resolved. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sluice/core/result.h"

namespace sluice::origin {

struct Url {
  std::string scheme;  // http or https
  std::string host;    // in lower case; brackets around IPv6
  std::string port;    // empty: the scheme's own
  std::string path;    // begins with '/'; encoded, as it was written
  std::string query;   // with '?'; empty: none

  [[nodiscard]] std::string Server() const;  // "https://host:port"
  [[nodiscard]] std::string Text() const { return Server() + path + query; }
};

// kInvalidArgument, which does not echo the text, unless it is an absolute http or https URL of
// legal characters without credentials. A fragment is dropped.
Result<Url> ParseUrl(std::string_view text);

// What `reference` (of a link or a redirect) means on the page `base`; dots are resolved.
Result<Url> Resolve(const Url& base, std::string_view reference);

// Whether a link names its scheme, as "mailto:x" and "http://host" do.
bool HasScheme(std::string_view reference);

// Where an answer of the URL `from` redirects to. kUnavailable for a place that is not followed:
// anything but http and https, and from https to http.
Result<Url> RedirectTarget(std::string_view from, std::string_view location);
// Whether credentials for the URL `from` may go to `to`: the same server, or the same on https
// instead.
bool MayCarryCredentials(std::string_view from, const Url& to);

// Letters of ASCII; others as they are.
std::string LowerCased(std::string_view text);

// "%41" becomes "A"; nothing when an escape is malformed.
std::optional<std::string> PercentDecode(std::string_view text);

bool IsRedirect(int status);

}  // namespace sluice::origin
