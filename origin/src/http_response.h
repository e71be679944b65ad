// Judges what an HTTP server answered to a question for an object. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sluice/core/result.h"
#include "sluice/ports/origin.h"

namespace sluice::origin {

struct HttpHead {
  int status = 0;
  std::string etag;  // as sent
  std::string content_range;
  std::string last_modified;
  std::optional<std::uint64_t> content_length;
  std::string location{};
  std::string accept_ranges{};
  std::string content_type{};
  std::string content_encoding{};
  std::string link{};         // the next page of a listing
  std::string linked_etag{};  // of the object in the store that the server redirects to
  std::string error_code{};   // of the Hugging Face Hub
  std::string upload_mark{};  // see kUploadMarkHeader
};

// Tells an object that an upload of ours has made from any other one of its name.
inline constexpr char kUploadMarkHeader[] = "x-amz-meta-sluice-upload";

enum class Retry {
  kNo,
  kYes,             // after a backoff
  kNewCredentials,  // at once, if the secret files hold other credentials now
};

struct Verdict {
  Error error;  // its message says what and how to fix it; the caller puts the object in front
  Retry retry = Retry::kNo;
};

// What a refusal means and what to do about it, by what the server names it.
struct KnownRefusal {
  std::string_view error_code;  // in the protocol's own words; empty: the status alone
  Code code;
  Retry retry;
  std::string_view message;
};
// What a status means that every protocol over HTTP gives the same meaning.
KnownRefusal OrdinaryRefusal(int status);

// The version string of an object: its strong ETag without quotes, else size and time to the
// second. An ETag with a character that cannot stand in a header counts as missing.
std::string VersionOf(std::string_view etag, std::uint64_t size,
                      std::chrono::system_clock::time_point modified);

// Whether it is of the second sort.
bool IsByTime(std::string_view version);

// The header that makes the server refuse when the object is no longer this version: "If-Match: …"
// or "If-Unmodified-Since: …".
std::pair<std::string, std::string> ConditionFor(const OriginObject& object);

// Whether a successful answer to "GET [offset, offset+length) of object" carries exactly these
// bytes of this version. The verdict otherwise.
std::optional<Verdict> CheckRange(const HttpHead& head, const OriginObject& object,
                                  std::uint64_t offset, std::uint64_t length);
// The same where the version has been looked at already.
std::optional<Verdict> CheckRange(const HttpHead& head, const OriginObject& object,
                                  std::uint64_t offset, std::uint64_t length, bool same_version);

// The size of the whole object: of "bytes 0-9/100", and of "bytes */100" in a refusal.
std::optional<std::uint64_t> TotalOf(std::string_view content_range);

// "Fri, 24 May 2013 00:00:00 GMT" and back; the zero time when malformed.
std::chrono::system_clock::time_point ParseHttpTime(const std::string& text);
std::string FormatHttpTime(std::chrono::system_clock::time_point time);

}  // namespace sluice::origin
