#include "make_credentials.h"

#include <utility>

#include "container_credentials.h"
#include "instance_metadata.h"
#include "static_credentials.h"
#include "url.h"
#include "web_identity.h"

namespace sluice::origin {
namespace {

// Whether an identity of AWS is known there: another store would refuse it, and should not see it.
bool KnowsAws(const S3Options& options, const IdentityEnvironment& environment) {
  if (!options.sts_endpoint.empty() || !environment.sts_endpoint.empty()) return true;
  const auto endpoint = ParseUrl(options.endpoint);
  return endpoint && (endpoint->host.ends_with(".amazonaws.com") ||
                      endpoint->host.ends_with(".amazonaws.com.cn"));
}

S3Identity ChosenIdentity(const S3Options& options, const IdentityEnvironment& environment) {
  if (options.identity != S3Identity::kByEnvironment) return options.identity;
  if (!KnowsAws(options, environment)) return S3Identity::kAnonymous;
  if (!environment.role_arn.empty() && !environment.web_identity_token_file.empty()) {
    return S3Identity::kWebIdentity;
  }
  if (!environment.container_full_uri.empty() || !environment.container_relative_uri.empty()) {
    return S3Identity::kContainer;
  }
  return S3Identity::kAnonymous;
}

Result<std::unique_ptr<CredentialsSource>> MakeSource(S3Identity identity, const S3Options& options,
                                                      const IdentityEnvironment& environment) {
  switch (identity) {
    case S3Identity::kWebIdentity:
      return MakeWebIdentity(options, environment);
    case S3Identity::kContainer:
      return MakeContainerCredentials(environment);
    case S3Identity::kInstance:
      return MakeInstanceMetadata(options, environment);
    case S3Identity::kByEnvironment:
    case S3Identity::kKeys:
    case S3Identity::kAnonymous:
      break;
  }
  return Fail(Code::kInternal, "these credentials are not temporary");
}

}  // namespace

Result<std::unique_ptr<CredentialsProvider>> MakeCredentials(const S3Options& options,
                                                             const CredentialsSetup& setup,
                                                             platform::Metrics& metrics,
                                                             platform::Log log) {
  const S3Identity identity = ChosenIdentity(options, setup.environment);
  if (identity == S3Identity::kAnonymous && options.requester_pays) {
    return Fail(Code::kInvalidArgument,
                "option \"requesterPays\" needs credentials, and neither the options nor the "
                "client's environment has any: set option \"credentials\", or give keys");
  }
  if (identity == S3Identity::kKeys || identity == S3Identity::kAnonymous) {
    return MakeStaticCredentials(options);
  }
  auto source = MakeSource(identity, options, setup.environment);
  if (!source) return Fail(source.error());
  return std::make_unique<RenewedCredentials>(std::move(*source), setup.limits, setup.clock,
                                              metrics, std::move(log));
}

}  // namespace sluice::origin
