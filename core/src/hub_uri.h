// hf://[datasets/|spaces/]organisation/name[@revision][/directory]
#pragma once

#include <string>
#include <string_view>

#include "sluice/core/result.h"

namespace sluice {

struct HubUri {
  std::string kind;        // "models", "datasets", "spaces"
  std::string repository;  // "organisation/name"
  std::string revision;    // empty: none is given
  std::string path;        // without slashes around; empty: the whole repository
};

// `rest` is what follows "hf://". A revision is one component, or three that begin with "refs/pr/"
// or "refs/convert/". Errors do not echo it. The path's components are the caller's to check.
Result<HubUri> ParseHubUri(std::string_view rest);

}  // namespace sluice
