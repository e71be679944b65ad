// What a cloud tells a process about its identity, in the environment variables that all tools of
// AWS know. Those who put them there: the webhooks of EKS, the agent of ECS, or a user.
#pragma once

#include <string>

#include "sluice/platform/log.h"

namespace sluice::origin {

struct IdentityEnvironment {
  std::string region;                   // AWS_REGION, AWS_DEFAULT_REGION
  std::string role_arn;                 // AWS_ROLE_ARN
  std::string web_identity_token_file;  // AWS_WEB_IDENTITY_TOKEN_FILE
  std::string role_session_name;        // AWS_ROLE_SESSION_NAME
  std::string sts_endpoint;             // AWS_ENDPOINT_URL_STS
  std::string container_full_uri;       // AWS_CONTAINER_CREDENTIALS_FULL_URI
  std::string container_relative_uri;   // AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
  std::string container_token_file;     // AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
  platform::Secret container_token;     // AWS_CONTAINER_AUTHORIZATION_TOKEN
  std::string metadata_endpoint;        // AWS_EC2_METADATA_SERVICE_ENDPOINT
};

// Of this process.
IdentityEnvironment ReadIdentityEnvironment();

}  // namespace sluice::origin
