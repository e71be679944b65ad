// The value of a credential, from its Secret's file.
#pragma once

#include <string>

#include "sluice/core/mount_options.h"
#include "sluice/core/result.h"

namespace sluice::origin {

// Empty when the option is not given. An unreadable, empty or binary value is kPermissionDenied
// that names option and file. Blanks and line ends around the value are dropped, since editors add
// them.
Result<std::string> ReadSecret(const CredentialSource& source);

}  // namespace sluice::origin
