// The value of a credential, from its Secret's file, or of a token, from its own.
#pragma once

#include <string>
#include <string_view>

#include "sluice/core/mount_options.h"
#include "sluice/core/result.h"
#include "sluice/platform/log.h"

namespace sluice::origin {

// Empty when the option is not given. An unreadable, empty or binary value is kPermissionDenied
// that names option and file. Blanks and line ends around the value are dropped, since editors add
// them.
Result<std::string> ReadSecret(const CredentialSource& source);

// The same for a file that the environment variable `variable` names. Blanks inside are legal.
Result<platform::Secret> ReadTokenFile(const std::string& path, std::string_view variable);

}  // namespace sluice::origin
