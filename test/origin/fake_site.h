// A web server's files, behind a FakeServer, as a careful server would serve them.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fake_server.h"

namespace sluice::origin {

struct SiteFile {
  std::string body;
  std::vector<std::string> headers = {"ETag: \"v1\"",
                                      "Last-Modified: Wed, 25 Mar 2015 21:40:12 GMT"};
  bool ranges = true;     // answers them
  bool announces = true;  // that it does, in answers to HEAD
};

// HEAD, whole and ranged GET.
inline test::FakeReply ServeFile(const test::FakeRequest& request, const SiteFile& file) {
  std::vector<std::string> headers = file.headers;
  if (file.ranges && file.announces) headers.emplace_back("Accept-Ranges: bytes");
  const auto wanted = request.headers.find("range");
  if (request.method == "HEAD" || wanted == request.headers.end() || !file.ranges) {
    headers.push_back(fmt::format("Content-Length: {}", file.body.size()));
    return test::Answer(200, request.method == "HEAD" ? "" : file.body, headers);
  }
  std::size_t first = 0;
  std::size_t last = 0;
  if (std::sscanf(wanted->second.c_str(), "bytes=%zu-%zu", &first, &last) != 2) std::abort();
  if (first >= file.body.size()) {
    return test::Answer(416, "", {fmt::format("Content-Range: bytes */{}", file.body.size())});
  }
  last = std::min(last, file.body.size() - 1);
  headers.push_back(fmt::format("Content-Range: bytes {}-{}/{}", first, last, file.body.size()));
  return test::Answer(206, file.body.substr(first, last - first + 1), headers);
}

using Site = std::map<std::string, SiteFile>;  // by encoded path

inline test::FakeReply ServeSite(const test::FakeRequest& request, const Site& site) {
  const auto found = site.find(request.path);
  if (found == site.end()) return test::Answer(404, request.method == "HEAD" ? "" : "no");
  return ServeFile(request, found->second);
}

inline SiteFile HtmlPage(std::string body) {
  return {.body = std::move(body), .headers = {"Content-Type: text/html"}};
}

}  // namespace sluice::origin
