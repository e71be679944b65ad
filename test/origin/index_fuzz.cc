#include "index_fuzz.h"

#include <algorithm>
#include <set>
#include <string>

#include "sluice/origin/sigv4.h"

#include "demand.h"
#include "http_response.h"
#include "hub_api.h"
#include "index_page.h"
#include "object_names.h"
#include "url.h"

namespace sluice::test {
namespace {

constexpr std::string_view kServer = "https://host:8443";
constexpr std::string_view kDirectory = "/data%20sets/x/";

void DemandShown(const Error& error) {
  const bool plain = std::all_of(error.message.begin(), error.message.end(),
                                 [](char c) { return c >= ' ' && c < '\x7f'; });
  Demand(plain && error.message.size() < 200, "an error is fit to be shown", error.message);
}

void DemandPage(const origin::IndexPage& page) {
  std::set<std::string> seen;
  for (const origin::IndexEntry& entry : page.entries) {
    Demand(origin::IsFilePath(entry.path), "every name is a file's", entry.path);
    Demand(seen.insert(entry.path + (entry.directory ? "/" : "")).second, "each once", entry.path);
    // What is asked of the server for it.
    std::string asked(kServer);
    asked += kDirectory;
    asked += origin::UriEncode(entry.path, /*keep_slash=*/true);
    const auto url = origin::ParseUrl(asked);
    Demand(
        url && url->Server() == kServer && url->path.starts_with(kDirectory) && url->query.empty(),
        "every name makes a URL below the directory", entry.path);
    const auto back = origin::PercentDecode(url->path.substr(kDirectory.size()));
    Demand(back && *back == entry.path, "a name that is encoded decodes", entry.path);
  }
}

void DemandPage(const Result<origin::IndexPage>& page) {
  if (page) return DemandPage(*page);
  Demand(page.error().code == Code::kUnavailable, "a bad page is a bad server", "");
  DemandShown(page.error());
}

void DemandRedirect(std::string_view location) {
  const auto target = origin::RedirectTarget("https://host:8443/a/b?c", location);
  if (!target) return DemandShown(target.error());
  Demand(target->scheme == "https", "https stays https", location);
  const auto again = origin::ParseUrl(target->Text());
  Demand(again && again->Text() == target->Text(), "a URL reads back", target->Text());
  const std::string& path = target->path;
  Demand(path.starts_with('/') && (path + "/").find("/../") == std::string::npos,
         "dots are resolved", path);
}

}  // namespace

void FuzzIndex(std::string_view answer) {
  const auto page = origin::ParseUrl(std::string(kServer) + std::string(kDirectory));
  DemandPage(origin::ParseHtmlIndex(*page, answer));
  DemandPage(origin::ParseTextManifest(answer));
  DemandPage(origin::ParseJsonIndex(answer));
  DemandPage(origin::ParseJsonManifest(answer));
  DemandRedirect(answer);
  if (const auto query = origin::NextPageQuery(answer); !query) {
    DemandShown(query.error());
  } else if (*query) {
    Demand(origin::ParseUrl(std::string(kServer) + "/tree?" + **query).has_value(),
           "a next page is a URL", **query);
  }
  if (const auto revision = origin::ParseHubRevision(answer); !revision) {
    DemandShown(revision.error());
  }
  const auto tree = origin::ParseHubTree(answer);
  if (!tree) return DemandShown(tree.error());
  for (const OriginObject& object : *tree) {
    Demand(origin::VersionOf("\"" + object.version + "\"", 0, {}) == object.version,
           "an oid is an ETag", object.version);
  }
}

}  // namespace sluice::test
