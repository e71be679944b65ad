#include "identity_environment.h"

#include <cstdlib>

namespace sluice::origin {
namespace {

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

IdentityEnvironment ReadIdentityEnvironment() {
  IdentityEnvironment out;
  out.region = Variable("AWS_REGION");
  if (out.region.empty()) out.region = Variable("AWS_DEFAULT_REGION");
  out.role_arn = Variable("AWS_ROLE_ARN");
  out.web_identity_token_file = Variable("AWS_WEB_IDENTITY_TOKEN_FILE");
  out.role_session_name = Variable("AWS_ROLE_SESSION_NAME");
  out.sts_endpoint = Variable("AWS_ENDPOINT_URL_STS");
  out.container_full_uri = Variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  out.container_relative_uri = Variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  out.container_token_file = Variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  out.container_token = platform::Secret(Variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
  out.metadata_endpoint = Variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  return out;
}

}  // namespace sluice::origin
