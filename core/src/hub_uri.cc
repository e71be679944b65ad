#include "hub_uri.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace sluice {
namespace {

constexpr std::size_t kMaxName = 96;
constexpr std::array<std::string_view, 3> kKinds = {"models", "datasets", "spaces"};

// The text up to the next '/', which goes with it.
std::string_view TakePart(std::string_view& text) {
  const std::size_t slash = text.find('/');
  const std::string_view part = text.substr(0, slash);
  text = slash == std::string_view::npos ? "" : text.substr(slash + 1);
  return part;
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-' || c == '_';
         });
}

}  // namespace

Result<HubUri> ParseHubUri(std::string_view rest) {
  HubUri uri;
  uri.kind = "models";
  const std::string_view first = rest.substr(0, rest.find('/'));
  if (std::find(kKinds.begin(), kKinds.end(), first) != kKinds.end()) {
    uri.kind = first;
    TakePart(rest);
  }
  const std::string_view organisation = TakePart(rest);
  const std::size_t mark = rest.substr(0, rest.find('/')).find('@');
  const std::string_view name =
      mark == std::string_view::npos ? TakePart(rest) : rest.substr(0, mark);
  if (!IsName(organisation) || !IsName(name)) {
    return Fail(Code::kInvalidArgument,
                "the repository is missing or malformed; write "
                "hf://[datasets/|spaces/]<organisation>/<name>[@<revision>][/<directory>], the "
                "token in a Secret");
  }
  uri.repository = fmt::format("{}/{}", organisation, name);
  if (mark != std::string_view::npos) {
    rest.remove_prefix(mark + 1);
    uri.revision = TakePart(rest);
    if (uri.revision == "refs" && (rest.starts_with("pr/") || rest.starts_with("convert/"))) {
      uri.revision += fmt::format("/{}", TakePart(rest));
      uri.revision += fmt::format("/{}", TakePart(rest));
    }
    if (uri.revision.empty()) {
      return Fail(Code::kInvalidArgument, "the revision after '@' is missing");
    }
  }
  uri.path = rest;
  return uri;
}

}  // namespace sluice
