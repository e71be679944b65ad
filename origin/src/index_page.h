// What a web server's listings say: index pages as HTML, nginx's autoindex as JSON, manifests.
// Pure, and made for hostile input.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"

#include "url.h"

namespace sluice::origin {

struct IndexEntry {
  std::string path;        // decoded, relative to the page's directory; a file path (IsFilePath)
  bool directory = false;  // has a page of its own
  // Where the listing says so:
  std::optional<std::uint64_t> size{};
  std::optional<std::chrono::system_clock::time_point> modified{};
  std::string etag{};  // without quotes
};

struct IndexPage {
  std::vector<IndexEntry> entries;  // each path once
  std::uint64_t skipped = 0;        // names that no file can have
};

// The links of an HTML page to what lies below its directory. Links elsewhere, to the page itself,
// or with a query (orders of sorting) are ignored. `page` is the URL that answered.
IndexPage ParseHtmlIndex(const Url& page, std::string_view html);

// nginx: [{"name": "a", "type": "file", "size": 1, "mtime": "Wed, 25 Mar 2015 21:40:12 GMT"},
// {"name": "d", "type": "directory"}]. kUnavailable when it is not that.
Result<IndexPage> ParseJsonIndex(std::string_view json);

// One path a line; empty lines are nothing.
IndexPage ParseTextManifest(std::string_view text);
// ["a/b", {"path": "c", "size": 1, "etag": "x"}]. kUnavailable when it is not that.
Result<IndexPage> ParseJsonManifest(std::string_view json);

}  // namespace sluice::origin
