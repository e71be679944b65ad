// What a mount says about a web server or a repository of the Hugging Face Hub.
#pragma once

#include <string>

#include "sluice/core/fuse_config.h"
#include "sluice/core/mount_options.h"
#include "sluice/core/result.h"

namespace sluice {

// http:// and https://.
struct WebOptions {
  std::string url;         // of a directory (ends with '/'), or of what the server says it is
  std::string manifest;    // a list of the files, relative to the directory; empty: index pages
  std::string ca_file;     // empty: the system's certificates
  CredentialSource token;  // a bearer token; not given: none is sent
};

// hf://.
struct HubOptions {
  std::string endpoint;    // "https://host[:port]", no path
  std::string kind;        // "models", "datasets", "spaces"
  std::string repository;  // "organisation/name"
  std::string revision;    // a branch, a tag or a commit
  std::string path;        // a directory of it, without slashes around; empty: all
  std::string ca_file;
  CredentialSource token;
};

// kInvalidArgument for another scheme, a malformed value, or an option given both plainly and as a
// Secret. Unknown options are ignored. Messages name the option, never its value.
Result<WebOptions> ResolveWebOptions(const MountConfig& mount);
Result<HubOptions> ResolveHubOptions(const MountConfig& mount);

}  // namespace sluice
