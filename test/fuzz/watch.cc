// Any bytes as what the API server answers: the body of a list, or the stream of a watch. The first
// byte chooses which, and in which pieces the stream comes.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "demand.h"
#include "json_mutator.h"
#include "request_path.h"
#include "response.h"

namespace {

using sluice::Code;
using sluice::Json;
using sluice::WatchEvent;
using sluice::test::Demand;
namespace kube = sluice::kube;

constexpr std::string_view kWhat = "watch pods";
constexpr std::size_t kLongestLine = 2'000;
const sluice::ResourceType& kType = sluice::resources::kPod;

void DemandError(const sluice::Error& error) {
  Demand(error.message.starts_with(kWhat), "an error names what was tried", error.message);
}

// The server's names go into the paths of further requests.
void DemandPath(const Json& object) {
  const sluice::ObjectKey key = sluice::KeyOf(object);
  const auto path = kube::ObjectPath(kType, key);
  if (!path) return;
  Demand(*path == "/api/v1/namespaces/" + kube::PercentEncode(key.ns) + "/pods/" +
                      kube::PercentEncode(key.name),
         "a path is made of whole segments", *path);
  Demand(std::ranges::count(*path, '/') == 6 && path->find("/../") == std::string::npos &&
             path->find("/./") == std::string::npos && !path->ends_with("/..") &&
             !path->ends_with("/."),
         "no name leads elsewhere", *path);
}

const char* TypeName(WatchEvent::Type type) {
  switch (type) {
    case WatchEvent::Type::kAdded:
      return "ADDED";
    case WatchEvent::Type::kModified:
      return "MODIFIED";
    case WatchEvent::Type::kDeleted:
      return "DELETED";
    case WatchEvent::Type::kBookmark:
      return "BOOKMARK";
  }
  return "";
}

void FuzzLine(std::string_view line) {
  const auto event = kube::ParseWatchLine(line, kWhat);
  if (!event) return DemandError(event.error());
  const std::string text =
      Json::object({{"type", TypeName(event->type)}, {"object", event->object}}).dump();
  Demand(event->object.is_object() && (event->type == WatchEvent::Type::kBookmark ||
                                       !sluice::KeyOf(event->object).name.empty()),
         "an event is about a named object", text);
  const auto back = kube::ParseWatchLine(text, kWhat);
  Demand(back && back->type == event->type && back->object == event->object,
         "an event that is written reads back", text);
  DemandPath(event->object);
}

struct Lines {
  std::vector<std::string> lines;
  bool overlong = false;

  bool operator==(const Lines&) const = default;
};

Lines Split(std::string_view stream, std::size_t piece) {
  Lines result;
  kube::LineBuffer buffer(kLongestLine);
  for (; !stream.empty() && !result.overlong;
       stream.remove_prefix(std::min(piece, stream.size()))) {
    const auto status = buffer.Append(stream.substr(0, piece), [&](std::string_view line) {
      result.lines.emplace_back(line);
      return sluice::Ok();
    });
    result.overlong = !status;
  }
  return result;
}

void FuzzStream(std::string_view stream, std::size_t piece) {
  const Lines whole = Split(stream, stream.size());
  Demand(whole == Split(stream, piece), "pieces make no difference", stream);
  for (const std::string& line : whole.lines) {
    Demand(!line.empty() && line.size() <= kLongestLine && line.find('\n') == std::string::npos,
           "a line is one", line);
    FuzzLine(line);
  }
}

void FuzzList(const std::string& body) {
  const auto page = kube::ParseList(kType, body, kWhat);
  if (!page) {
    Demand(page.error().code == Code::kUnavailable, "a bad list may be right the next time", body);
    return DemandError(page.error());
  }
  Json list = Json::object({{"metadata", Json::object()}, {"items", page->list.items}});
  list["metadata"]["resourceVersion"] = page->list.resource_version;
  list["metadata"]["continue"] = page->continue_token;
  const std::string text = list.dump();
  for (const Json& item : page->list.items) {
    Demand(!sluice::KeyOf(item).name.empty() && item["kind"] == kType.kind &&
               item["apiVersion"] == kType.ApiVersion(),
           "items are named objects of their kind", text);
    DemandPath(item);
  }
  const auto back = kube::ParseList(kType, text, kWhat);
  Demand(back && back->list.items == page->list.items &&
             back->list.resource_version == page->list.resource_version &&
             back->continue_token == page->continue_token,
         "a list that is written reads back", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    FuzzList(text);
    // The same body with the status of a failure.
    DemandError(kube::ErrorFromResponse(kube::Verb::kWatch, 300 + data[0], text, kWhat));
    (void)kube::RetryAfter(text);
  } else {
    FuzzStream(text, data[0] / 2 + 1U);
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  return sluice::test::MutateJson(data, size, max_size, seed, 1);
}
