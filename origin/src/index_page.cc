#include "index_page.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/json_access.h"

#include "html_links.h"
#include "http_response.h"
#include "object_names.h"

namespace sluice::origin {
namespace {

// Entries as they are found: each once, and only what can be a file.
class PageDraft {
 public:
  void Add(IndexEntry entry) {
    if (!IsFilePath(entry.path)) return Skip();
    if (!seen_.insert(entry.path + (entry.directory ? "/" : "")).second) return;
    page_.entries.push_back(std::move(entry));
  }
  void Skip() { ++page_.skipped; }
  IndexPage Take() && { return std::move(page_); }

 private:
  IndexPage page_;
  std::set<std::string> seen_;
};

// "a%20b/c" becomes "a b/c"; nothing when a component is malformed or would become several.
std::optional<std::string> DecodeComponents(std::string_view path) {
  std::string decoded;
  while (true) {
    const std::size_t slash = path.find('/');
    const auto part = PercentDecode(path.substr(0, slash));
    if (!part || part->find('/') != std::string::npos) return std::nullopt;
    decoded += *part;
    if (slash == std::string_view::npos) return decoded;
    decoded += '/';
    path.remove_prefix(slash + 1);
  }
}

std::optional<std::uint64_t> SizeOf(const Json& object) {
  const auto found = object.find("size");
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

Result<Json> ParseList(std::string_view text, std::string_view what) {
  Json list = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (list.is_array()) return list;
  return Fail(Code::kUnavailable, fmt::format("{} is not a JSON list", what));
}

}  // namespace

IndexPage ParseHtmlIndex(const Url& page, std::string_view html) {
  PageDraft draft;
  const std::string directory = page.path.substr(0, page.path.rfind('/') + 1);
  for (const std::string& link : HtmlLinks(html)) {
    const auto target = Resolve(page, link);
    if (!target) {
      if (!HasScheme(link)) draft.Skip();
      continue;
    }
    if (target->Server() != page.Server() || !target->query.empty() ||
        !target->path.starts_with(directory) || target->path.size() == directory.size()) {
      continue;
    }
    std::string_view path = std::string_view(target->path).substr(directory.size());
    const bool is_directory = path.ends_with('/');
    if (is_directory) path.remove_suffix(1);
    if (auto decoded = DecodeComponents(path)) {
      draft.Add({.path = std::move(*decoded), .directory = is_directory});
    } else {
      draft.Skip();
    }
  }
  return std::move(draft).Take();
}

Result<IndexPage> ParseJsonIndex(std::string_view json) {
  auto list = ParseList(json, "the index page");
  if (!list) return Fail(list.error());
  PageDraft draft;
  for (const Json& item : *list) {
    const std::string name = StringOf(item, "name");
    const std::string type = StringOf(item, "type");
    if (type != "file" && type != "directory") {
      if (!type.empty()) continue;  // a device, a socket
      return Fail(Code::kUnavailable, "the index page is not like nginx's autoindex JSON");
    }
    IndexEntry entry{.path = name, .directory = type == "directory"};
    if (name.find('/') != std::string::npos) {
      draft.Skip();
      continue;
    }
    if (!entry.directory) {
      entry.size = SizeOf(item);
      const auto modified = ParseHttpTime(StringOf(item, "mtime"));
      if (modified != std::chrono::system_clock::time_point{}) entry.modified = modified;
    }
    draft.Add(std::move(entry));
  }
  return std::move(draft).Take();
}

IndexPage ParseTextManifest(std::string_view text) {
  PageDraft draft;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("./")) line.remove_prefix(2);
    if (!line.empty()) draft.Add({.path = std::string(line)});
  }
  return std::move(draft).Take();
}

Result<IndexPage> ParseJsonManifest(std::string_view json) {
  auto list = ParseList(json, "the manifest");
  if (!list) return Fail(list.error());
  PageDraft draft;
  for (const Json& item : *list) {
    IndexEntry entry;
    if (item.is_string()) {
      entry.path = item.get<std::string>();
    } else {
      entry.path = StringOf(item, "path");
      if (entry.path.empty()) {
        return Fail(Code::kUnavailable, "the manifest must list paths, or objects with a \"path\"");
      }
      entry.size = SizeOf(item);
      entry.etag = StringOf(item, "etag");
    }
    draft.Add(std::move(entry));
  }
  return std::move(draft).Take();
}

}  // namespace sluice::origin
