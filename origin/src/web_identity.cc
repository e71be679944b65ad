#include "web_identity.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/mount_options.h"
#include "sluice/platform/random_text.h"

#include "credential_request.h"
#include "secret_file.h"
#include "sts_xml.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kLongestRole = 2'048;
constexpr std::size_t kLongestSessionName = 64;

struct StsRefusal {
  std::string_view error_code;
  Code code;
  std::string_view message;
};
constexpr auto kStsRefusals = std::to_array<StsRefusal>({
    {"AccessDenied", Code::kPermissionDenied,
     "the role may not be assumed: its trust policy must allow sts:AssumeRoleWithWebIdentity to "
     "the pod's service account (system:serviceaccount:<namespace>:<name>)"},
    {"InvalidIdentityToken", Code::kPermissionDenied,
     "the token is refused: the cluster's OIDC issuer must be an identity provider there, and the "
     "token's audience one of its clients"},
    {"ExpiredTokenException", Code::kPermissionDenied,
     "the token has expired: check that the kubelet renews the file and that the node's clock is "
     "right"},
    {"ValidationError", Code::kInvalidArgument,
     "the request is refused: check AWS_ROLE_ARN and AWS_ROLE_SESSION_NAME"},
    {"RegionDisabledException", Code::kInvalidArgument,
     "the region's STS is not enabled: set option \"stsEndpoint\" to another one"},
    {"IDPCommunicationError", Code::kUnavailable, "the STS cannot reach the cluster's OIDC issuer"},
    {"Throttling", Code::kUnavailable, "the STS asks to slow down"},
});

Error JudgeStsRefusal(const CredentialAnswer& answer) {
  const std::string code = ParseStsError(answer.body);
  for (const StsRefusal& row : kStsRefusals) {
    if (row.error_code != code) continue;
    return {row.code, fmt::format("{} ({}, HTTP {})", row.message, code, answer.status)};
  }
  Error error = JudgeCredentialStatus(answer.status,
                                      "the STS refuses: check the role and option \"stsEndpoint\"");
  if (!code.empty()) error.message += fmt::format(" ({})", code);
  return error;
}

class WebIdentity final : public CredentialsSource {
 public:
  struct Setup {
    std::string endpoint;  // "https://host"
    std::string ca_file;
    std::string role_arn;
    std::string session_name;
    std::string token_file;
  };
  explicit WebIdentity(Setup setup) : setup_(std::move(setup)) {}

  Result<TemporaryCredentials> Ask(std::chrono::steady_clock::time_point deadline,
                                   const std::stop_token& stop) override {
    auto token = ReadTokenFile(setup_.token_file, "AWS_WEB_IDENTITY_TOKEN_FILE");
    if (!token) return Fail(token.error());
    CredentialRequest request;
    request.url = setup_.endpoint + "/";
    request.method = CredentialRequest::Method::kPostForm;
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                       {"Accept", "text/xml"}};
    request.form = platform::Secret(CanonicalQuery({{"Action", "AssumeRoleWithWebIdentity"},
                                                    {"Version", "2011-06-15"},
                                                    {"RoleArn", setup_.role_arn},
                                                    {"RoleSessionName", setup_.session_name},
                                                    {"WebIdentityToken", token->Reveal()}}));
    request.ca_file = setup_.ca_file;
    auto answer = AskForCredentials(request, deadline, stop);
    if (!answer) return Fail(answer.error());
    if (answer->status != 200) return Fail(JudgeStsRefusal(*answer));
    return ParseAssumedRole(answer->body);
  }
  [[nodiscard]] std::string_view Name() const override { return "web-identity"; }
  [[nodiscard]] std::string Place() const override {
    return fmt::format("{} for role {}", setup_.endpoint, setup_.role_arn);
  }

 private:
  const Setup setup_;
};

Status Missing(std::string_view variable) {
  return Fail(Code::kInvalidArgument,
              fmt::format("option \"credentials\" is \"web-identity\", but {} is not in the "
                          "client's environment: annotate the pod's service account with its role "
                          "(eks.amazonaws.com/role-arn), or set the variable in spec.fuse.env",
                          variable));
}

Status Malformed(std::string_view variable, std::string_view rule) {
  return Fail(Code::kInvalidArgument,
              fmt::format("environment variable {} must be {}", variable, rule));
}

bool IsNameCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("+=,.@-_").find(c) != std::string_view::npos;
}

Status CheckVariables(const IdentityEnvironment& environment) {
  if (environment.role_arn.empty()) return Missing("AWS_ROLE_ARN");
  if (environment.web_identity_token_file.empty()) return Missing("AWS_WEB_IDENTITY_TOKEN_FILE");
  if (!environment.role_arn.starts_with("arn:") ||
      !IsHeaderText(environment.role_arn, kLongestRole)) {
    return Malformed("AWS_ROLE_ARN", "an ARN, as arn:aws:iam::123456789012:role/name");
  }
  const std::string& name = environment.role_session_name;
  if (!name.empty() && (name.size() < 2 || name.size() > kLongestSessionName ||
                        !std::all_of(name.begin(), name.end(), IsNameCharacter))) {
    return Malformed("AWS_ROLE_SESSION_NAME", "of 2 to 64 letters, digits and +=,.@-_");
  }
  return Ok();
}

Result<std::string> RegionalSts(const std::string& region) {
  const bool plain = std::all_of(region.begin(), region.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-';
  });
  if (region.empty() || !plain) {
    return Fail(
        Code::kInvalidArgument,
        "the STS of this region is not known: set option \"stsEndpoint\", or \"region\" (or "
        "AWS_REGION in the environment) to one of AWS");
  }
  return fmt::format("https://sts.{}.amazonaws.com{}", region,
                     region.starts_with("cn-") ? ".cn" : "");
}

Result<std::string> StsEndpoint(const S3Options& options, const IdentityEnvironment& environment) {
  if (!options.sts_endpoint.empty()) return options.sts_endpoint;
  if (!environment.sts_endpoint.empty()) {
    const auto named = ParseEndpoint(environment.sts_endpoint);
    if (!named) return Fail(named.error().Wrap("environment variable AWS_ENDPOINT_URL_STS"));
    return named->Url();
  }
  // The client's own region is nearer than the bucket's, and may be the only one that it reaches.
  return RegionalSts(environment.region.empty() ? options.region : environment.region);
}

}  // namespace

Result<std::unique_ptr<CredentialsSource>> MakeWebIdentity(const S3Options& options,
                                                           const IdentityEnvironment& environment) {
  if (auto status = CheckVariables(environment); !status) return Fail(status.error());
  auto endpoint = StsEndpoint(options, environment);
  if (!endpoint) return Fail(endpoint.error());
  WebIdentity::Setup setup;
  // AWS's own STS has no certificate of the CA that a store of one's own may have.
  const bool own = !options.sts_endpoint.empty() || !environment.sts_endpoint.empty();
  if (own) setup.ca_file = options.ca_file;
  setup.endpoint = std::move(*endpoint);
  setup.role_arn = environment.role_arn;
  setup.token_file = environment.web_identity_token_file;
  setup.session_name = environment.role_session_name;
  if (setup.session_name.empty()) {
    auto random = platform::RandomText(8);
    if (!random) return Fail(random.error());
    setup.session_name = "sluice-" + *random;
  }
  return std::make_unique<WebIdentity>(std::move(setup));
}

}  // namespace sluice::origin
