// Whether a file of a web server can be an object: it needs a size, ranges and a version. Pure.
#pragma once

#include <string>
#include <string_view>

#include "sluice/ports/origin.h"

#include "http_response.h"

namespace sluice::origin {

// Why a file is left out of a listing.
enum class Refusal {
  kNone,
  kNotFound,
  kForbidden,
  kNoLength,
  kNoRanges,
  kNoVersion,
  kEncoded,  // compressed on its way, so that ranges are not of the file
};
// For metrics: "no_ranges".
std::string_view NameOf(Refusal refusal);
// For people: cause and remedy.
std::string_view Explain(Refusal refusal);

// kNotFound, kForbidden, or kNone where the status alone says nothing against one object.
Refusal RefusalOf(int status);

struct WebObject {
  Refusal refusal = Refusal::kNone;
  bool needs_probe = false;  // a GET of its first byte must tell more
  OriginObject object;       // without path
};

// Of the answer to a HEAD, whatever its status; a refusal to answer HEAD needs a probe.
WebObject DescribeHead(const HttpHead& head);
// Of the answer to a GET of the first byte.
WebObject DescribeProbe(const HttpHead& head);

}  // namespace sluice::origin
