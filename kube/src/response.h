// What the API server's answers mean. Pure; whatever the bytes are, the result is a value or an
// Error.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"
#include "sluice/ports/cluster.h"

namespace sluice::kube {

enum class Verb { kGet, kList, kWatch, kCreate, kReplace, kApply, kPatch, kDelete };
std::string_view VerbName(Verb verb);

// The code for an HTTP status of 300 and above.
Code CodeForStatus(Verb verb, int http_status);

// The error for a failed response; takes the server's own message when the body is a Status
// object. `what` names the object ("get datasets default/demo").
Error ErrorFromResponse(Verb verb, int http_status, const std::string& body, std::string_view what);

// Seconds of a Retry-After header; nothing for dates and nonsense, at most one minute.
std::optional<std::chrono::seconds> RetryAfter(const std::string& header);

// The object in a 2xx body. kUnavailable when the body is no JSON object (a proxy's page, a cut
// connection): it may be right the next time.
Result<Json> ParseObject(const std::string& body, std::string_view what);

struct ListPage {
  ObjectList list;
  std::string continue_token;
};
// One page; fills in apiVersion and kind of the items, which the server leaves out. Items that are
// no objects or have no name are an error.
Result<ListPage> ParseList(const ResourceType& type, const std::string& body,
                           std::string_view what);

// One line of a watch. An ERROR event is the error of its Status: kConflict for 410.
Result<WatchEvent> ParseWatchLine(std::string_view line, std::string_view what);

// Splits a byte stream into lines; a line over `max_line` bytes is kInternal.
class LineBuffer {
 public:
  explicit LineBuffer(std::size_t max_line) : max_line_(max_line) {}
  // Calls `on_line` (returns Status) for each complete line; stops at the first error.
  template <typename OnLine>
  Status Append(std::string_view data, OnLine&& on_line) {
    while (!data.empty()) {
      const auto end = data.find('\n');
      pending_.append(data.substr(0, end));
      if (pending_.size() > max_line_) {
        return Fail(Code::kInternal, "event larger than " + std::to_string(max_line_) + " bytes");
      }
      if (end == std::string_view::npos) return Ok();
      data.remove_prefix(end + 1);
      std::string line;
      line.swap(pending_);
      if (line.empty()) continue;
      if (Status status = on_line(std::string_view(line)); !status) return status;
    }
    return Ok();
  }

 private:
  std::size_t max_line_;
  std::string pending_;
};

}  // namespace sluice::kube
