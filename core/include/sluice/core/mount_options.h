// The options of one mount, whatever its scheme: where their values are, and whether they make
// sense.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/fuse_config.h"
#include "sluice/core/result.h"

namespace sluice {

// A credential: in the file of a mounted Secret (preferred), or given in the options.
struct CredentialSource {
  std::string file;    // empty: use `value`
  std::string value;   // do not log
  std::string option;  // the option's name as the user wrote it, for messages

  [[nodiscard]] bool Given() const { return !option.empty(); }
};

// The first of these spellings that is there; not Given() when none is. kInvalidArgument when the
// same name is an option and a Secret.
Result<CredentialSource> FindOption(const MountConfig& mount,
                                    const std::vector<std::string>& spellings);
// The value of an option that is needed now and so cannot live in a Secret's file; empty when none
// is given.
Result<std::string> FindPlainOption(const MountConfig& mount,
                                    const std::vector<std::string>& spellings);

// "https://host:port" taken apart.
struct Endpoint {
  std::string scheme = "https";
  std::string host;  // as in the URL; brackets around IPv6
  std::string port;  // with colon, or empty

  [[nodiscard]] std::string Url() const { return scheme + "://" + host + port; }
};
// "host", "host:port", "http://host" and so on. kInvalidArgument, which says how to write it, for
// anything else.
Result<Endpoint> ParseEndpoint(std::string_view text);

// Whether a text is of characters that a URL may hold. Bytes beyond ASCII are not legal, but count:
// people and servers write them.
inline bool IsUrlText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != '\x7f' && c != '\\' && c != '"';
  });
}

// Whether endpoint, credentials and the like make sense for the mount's scheme.
Status CheckMountOptions(const MountConfig& mount);

}  // namespace sluice
