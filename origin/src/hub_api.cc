#include "hub_api.h"

#include <algorithm>
#include <utility>

#include "sluice/core/json_access.h"
#include "sluice/core/mount_options.h"
#include "sluice/core/timestamp.h"

#include "http_response.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxNextPageQuery = 8U << 10;  // the Hub's cursors are of some hundred bytes

// Git's names of commits and blobs (SHA-1 or SHA-256) and the SHA-256 of LFS objects.
bool IsOid(std::string_view text) {
  return text.size() >= 7 && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Error OddAnswer(std::string_view what) {
  return {Code::kUnavailable, "the server's answer is not the Hub's: " + std::string(what)};
}

Result<OriginObject> FileOf(const Json& item) {
  // A file in Git LFS says its own name and size; beside it are those of the pointer.
  const Json& lfs = ChildOf(item, "lfs");
  const Json& told = lfs.empty() ? item : lfs;
  const auto size = told.find("size");
  OriginObject object;
  object.path = StringOf(item, "path");
  object.version = StringOf(told, "oid");
  if (object.path.empty() || !IsOid(object.version) || size == told.end() ||
      !size->is_number_unsigned()) {
    return Fail(OddAnswer("a file without path, oid or size"));
  }
  object.size = size->get<std::uint64_t>();
  return object;
}

}  // namespace

Result<HubRevision> ParseHubRevision(std::string_view json) {
  // The list of files comes along; it is long, and the tree's pages say more.
  const auto filter = [](int depth, Json::parse_event_t event, Json& parsed) {
    return !(depth == 1 && event == Json::parse_event_t::key && parsed == "siblings");
  };
  const Json answer = Json::parse(json, filter, /*allow_exceptions=*/false);
  HubRevision revision;
  revision.commit = StringOf(answer, "sha");
  if (!IsOid(revision.commit)) return Fail(OddAnswer("no commit"));
  revision.modified = ParseTime(StringOf(answer, "lastModified")).value_or(TimeFromUnix(0));
  return revision;
}

Result<std::vector<OriginObject>> ParseHubTree(std::string_view json) {
  const Json list = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return Fail(OddAnswer("no list of files"));
  std::vector<OriginObject> objects;
  for (const Json& item : list) {
    if (StringOf(item, "type") != "file") continue;
    auto object = FileOf(item);
    if (!object) return Fail(object.error());
    objects.push_back(std::move(*object));
  }
  return objects;
}

Result<std::optional<std::string>> NextPageQuery(std::string_view link) {
  while (true) {
    const std::size_t begin = link.find('<');
    const std::size_t end = link.find('>', begin);
    if (begin == std::string_view::npos || end == std::string_view::npos)
      return std::optional<std::string>();
    const std::string_view url = link.substr(begin + 1, end - begin - 1);
    link.remove_prefix(end + 1);
    const std::string_view parameters = link.substr(0, link.find('<'));
    if (parameters.find("rel=\"next\"") == std::string_view::npos &&
        parameters.find("rel=next") == std::string_view::npos) {
      continue;
    }
    const std::size_t mark = url.find('?');
    const std::string_view query =
        mark == std::string_view::npos ? "" : url.substr(mark + 1, url.find('#') - mark - 1);
    // Taken for the last page it would hide every file of those that follow.
    if (query.empty() || query.size() > kMaxNextPageQuery || !IsUrlText(query)) {
      return Fail(OddAnswer("a malformed link to the next page"));
    }
    return std::optional<std::string>(query);
  }
}

}  // namespace sluice::origin
