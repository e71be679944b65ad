// The JSON in which a container agent (EKS Pod Identity, ECS) and an instance's metadata service
// hand out credentials. Pure, and made for hostile input.
#pragma once

#include <string_view>

#include "sluice/core/result.h"

#include "temporary_credentials.h"

namespace sluice::origin {

// {"AccessKeyId": "…", "SecretAccessKey": "…", "Token": "…", "Expiration": "2026-11-26T18:00:00Z"},
// with "Code": "Success" from an instance. kUnavailable for anything else; with another code,
// that is in the message.
Result<TemporaryCredentials> ParseCredentialsJson(std::string_view json);

}  // namespace sluice::origin
