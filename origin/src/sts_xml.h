// The XML in which a Security Token Service answers. Pure, and made for hostile input.
#pragma once

#include <string>
#include <string_view>

#include "sluice/core/result.h"

#include "temporary_credentials.h"

namespace sluice::origin {

// The credentials of an AssumeRoleWithWebIdentityResponse. kUnavailable when it is not well-formed
// or they are not as they must be.
Result<TemporaryCredentials> ParseAssumedRole(std::string_view xml);

// The code of an ErrorResponse ("AccessDenied"), cut to what is fit for a message; empty when there
// is none.
std::string ParseStsError(std::string_view xml);

}  // namespace sluice::origin
