// What the Hugging Face Hub's API answers. Pure, and made for hostile input.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/ports/origin.h"

namespace sluice::origin {

struct HubRevision {
  std::string commit;  // hexadecimal
  std::chrono::system_clock::time_point modified;
};

// Of GET /api/models/<repository>/revision/<revision>: {"sha": "…", "lastModified": "…"}.
Result<HubRevision> ParseHubRevision(std::string_view json);

// Of GET /api/models/<repository>/tree/<commit>?recursive=true: the files of one page, with the oid
// (of the LFS object where it is one) as version. A file without oid or size fails the page.
Result<std::vector<OriginObject>> ParseHubTree(std::string_view json);

// The query of the next page, from the header Link: <https://…?cursor=x>; rel="next". Nothing when
// there is no further page; kUnavailable when there is one behind a malformed link. Only the query
// is taken, so that it leads to no other server.
Result<std::optional<std::string>> NextPageQuery(std::string_view link);

}  // namespace sluice::origin
