// Credentials from the agent beside a container: EKS Pod Identity, ECS.
#pragma once

#include <memory>

#include "sluice/core/result.h"

#include "credentials_source.h"
#include "identity_environment.h"

namespace sluice::origin {

// Asks AWS_CONTAINER_CREDENTIALS_FULL_URI, else the agent of ECS for …_RELATIVE_URI, with the
// Authorization of …_AUTHORIZATION_TOKEN_FILE (read for each question) or …_TOKEN. kInvalidArgument
// when there is no URI, or it leads neither to https nor to an agent's address: whoever can set a
// variable must not be handed the token.
Result<std::unique_ptr<CredentialsSource>> MakeContainerCredentials(
    const IdentityEnvironment& environment);

}  // namespace sluice::origin
