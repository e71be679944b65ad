#include "response.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace sluice::kube {
namespace {

// Deeper documents would exhaust the stack of recursive walks; Kubernetes objects stay below 60.
constexpr int kMaxDepth = 256;
constexpr std::size_t kMaxQuotedBody = 200;
constexpr std::chrono::seconds kMaxRetryAfter{60};

bool NestsTooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// Discarded JSON for anything that is not a sane document.
Json Parse(std::string_view text) {
  if (NestsTooDeep(text)) return Json(Json::value_t::discarded);
  return Json::parse(text, nullptr, false);
}

// The start of a body for a message, without control characters.
std::string Excerpt(const std::string& body) {
  std::string text = body.substr(0, kMaxQuotedBody);
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return text;
}

}  // namespace

std::string_view VerbName(Verb verb) {
  switch (verb) {
    case Verb::kGet:
      return "get";
    case Verb::kList:
      return "list";
    case Verb::kWatch:
      return "watch";
    case Verb::kCreate:
      return "create";
    case Verb::kReplace:
      return "replace";
    case Verb::kApply:
      return "apply";
    case Verb::kPatch:
      return "patch";
    case Verb::kDelete:
      return "delete";
  }
  return "request";
}

Code CodeForStatus(Verb verb, int http_status) {
  switch (http_status) {
    case 400:
    case 405:
    case 406:
    case 413:
    case 415:
    case 422:
      return Code::kInvalidArgument;
    case 401:
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 409:
      return verb == Verb::kCreate ? Code::kAlreadyExists : Code::kConflict;
    case 410:
      return Code::kConflict;
    case 408:
    case 504:
      return Code::kDeadlineExceeded;
    case 429:
      return Code::kUnavailable;
    default:
      return http_status >= 500 && http_status <= 599 ? Code::kUnavailable : Code::kInternal;
  }
}

Error ErrorFromResponse(Verb verb, int http_status, const std::string& body,
                        std::string_view what) {
  const Json status = Parse(body);
  std::string message = status.is_object() ? StringAt(status, "/message") : Excerpt(body);
  if (message.empty()) message = "no message";
  return {CodeForStatus(verb, http_status),
          fmt::format("{}: {} (HTTP {})", what, message, http_status)};
}

std::optional<std::chrono::seconds> RetryAfter(const std::string& header) {
  unsigned seconds = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), seconds);
  if (header.empty() || error != std::errc() || end != header.data() + header.size()) return {};
  return std::min(kMaxRetryAfter, std::chrono::seconds(seconds));
}

Result<Json> ParseObject(const std::string& body, std::string_view what) {
  Json object = Parse(body);
  if (!object.is_object()) {
    return Fail(Code::kUnavailable, fmt::format("{}: the answer of {} bytes is no JSON object: {}",
                                                what, body.size(), Excerpt(body)));
  }
  return object;
}

Result<ListPage> ParseList(const ResourceType& type, const std::string& body,
                           std::string_view what) {
  auto parsed = ParseObject(body, what);
  if (!parsed) return Fail(parsed.error());
  ListPage page;
  page.list.resource_version = StringAt(*parsed, "/metadata/resourceVersion");
  page.continue_token = StringAt(*parsed, "/metadata/continue");
  Json& items = (*parsed)["items"];
  // Typed encoders write null for no items.
  if (items.is_null()) items = Json::array();
  if (!items.is_array()) {
    return Fail(Code::kUnavailable, fmt::format("{}: the answer has no list of items", what));
  }
  for (Json& item : items) {
    if (!item.is_object() || KeyOf(item).name.empty()) {
      return Fail(Code::kUnavailable, fmt::format("{}: an item is no named object", what));
    }
    item["apiVersion"] = type.ApiVersion();
    item["kind"] = type.kind;
    page.list.items.push_back(std::move(item));
  }
  return page;
}

Result<WatchEvent> ParseWatchLine(std::string_view line, std::string_view what) {
  Json event = Parse(line);
  if (!event.is_object() || !event["object"].is_object()) {
    return Fail(Code::kUnavailable,
                fmt::format("{}: a line is no watch event: {}", what, Excerpt(std::string(line))));
  }
  const std::string type = StringAt(event, "/type");
  Json& object = event["object"];
  if (type == "ERROR") {
    const Json& code = ValueAt(object, "/code");
    return Fail(ErrorFromResponse(Verb::kWatch, code.is_number_integer() ? code.get<int>() : 500,
                                  object.dump(-1, ' ', false, Json::error_handler_t::replace),
                                  what));
  }
  WatchEvent result;
  if (type == "ADDED") {
    result.type = WatchEvent::Type::kAdded;
  } else if (type == "MODIFIED") {
    result.type = WatchEvent::Type::kModified;
  } else if (type == "DELETED") {
    result.type = WatchEvent::Type::kDeleted;
  } else if (type == "BOOKMARK") {
    result.type = WatchEvent::Type::kBookmark;
  } else {
    return Fail(Code::kUnavailable,
                fmt::format("{}: unknown event type '{}'", what, Excerpt(type)));
  }
  if (result.type != WatchEvent::Type::kBookmark && KeyOf(object).name.empty()) {
    return Fail(Code::kUnavailable, fmt::format("{}: an event's object has no name", what));
  }
  result.object = std::move(object);
  return result;
}

}  // namespace sluice::kube
