#include "web_object.h"

#include "url.h"

namespace sluice::origin {
namespace {

WebObject RefusedObject(Refusal refusal) { return {refusal, false, {}}; }

WebObject WithVersion(const HttpHead& head, std::uint64_t size) {
  WebObject described;
  described.object.size = size;
  if (!head.last_modified.empty()) {
    described.object.modified = ParseHttpTime(head.last_modified);
  }
  const std::chrono::system_clock::time_point unknown{};
  described.object.version = VersionOf(head.etag, size, described.object.modified);
  // Neither a strong ETag nor a time: a change would go unseen.
  if (IsByTime(described.object.version) && described.object.modified == unknown) {
    described.refusal = Refusal::kNoVersion;
  }
  return described;
}

bool IsEncoded(const HttpHead& head) {
  return !head.content_encoding.empty() && LowerCased(head.content_encoding) != "identity";
}

}  // namespace

std::string_view NameOf(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "none";
    case Refusal::kNotFound:
      return "not_found";
    case Refusal::kForbidden:
      return "forbidden";
    case Refusal::kNoLength:
      return "no_length";
    case Refusal::kNoRanges:
      return "no_ranges";
    case Refusal::kNoVersion:
      return "no_version";
    case Refusal::kEncoded:
      return "encoded";
  }
  return "none";
}

std::string_view Explain(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "it can be read";
    case Refusal::kNotFound:
      return "the server does not have it (HTTP 404)";
    case Refusal::kForbidden:
      return "the server denies access: give a bearer token in the Secret of option \"token\"";
    case Refusal::kNoLength:
      return "the server does not tell its size";
    case Refusal::kNoRanges:
      return "the server does not answer requests for a range of bytes: serve it with one that "
             "does, such as nginx";
    case Refusal::kNoVersion:
      return "the server tells neither a strong ETag nor Last-Modified, so that a change would go "
             "unseen";
    case Refusal::kEncoded:
      return "the server compresses it although it is not asked to";
  }
  return "";
}

Refusal RefusalOf(int status) {
  if (status == 404 || status == 410) return Refusal::kNotFound;
  if (status == 401 || status == 403) return Refusal::kForbidden;
  return Refusal::kNone;
}

WebObject DescribeHead(const HttpHead& head) {
  if (head.status == 405 || head.status == 501) return {Refusal::kNone, true, {}};
  if (const Refusal refusal = RefusalOf(head.status); refusal != Refusal::kNone) {
    return RefusedObject(refusal);
  }
  if (IsEncoded(head)) return RefusedObject(Refusal::kEncoded);
  if (!head.content_length) return {Refusal::kNone, true, {}};
  WebObject described = WithVersion(head, *head.content_length);
  if (described.refusal != Refusal::kNone || described.object.size == 0) return described;
  const std::string ranges = LowerCased(head.accept_ranges);
  if (ranges == "none") return RefusedObject(Refusal::kNoRanges);
  described.needs_probe = ranges.find("bytes") == std::string::npos;
  return described;
}

WebObject DescribeProbe(const HttpHead& head) {
  if (const Refusal refusal = RefusalOf(head.status); refusal != Refusal::kNone) {
    return RefusedObject(refusal);
  }
  const auto total = TotalOf(head.content_range);
  // The first byte of an empty file is out of range.
  if (head.status == 416 && total == 0) return WithVersion(head, 0);
  if (head.status != 206) return RefusedObject(Refusal::kNoRanges);
  if (IsEncoded(head)) return RefusedObject(Refusal::kEncoded);
  if (!total) return RefusedObject(Refusal::kNoLength);
  return WithVersion(head, *total);
}

}  // namespace sluice::origin
