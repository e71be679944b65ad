#include "instance_metadata.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/mount_options.h"

#include "credential_request.h"
#include "credentials_json.h"

namespace sluice::origin {
namespace {

constexpr std::string_view kServiceAddress = "http://169.254.169.254";
constexpr std::string_view kRolePath = "/latest/meta-data/iam/security-credentials/";
constexpr const char* kTokenLife = "60";  // seconds; one renewal
constexpr std::size_t kLongestMetadataToken = 4'096;
constexpr std::size_t kLongestRoleName = 64;

bool IsRoleCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("+=,.@-_").find(c) != std::string_view::npos;
}

class InstanceMetadata final : public CredentialsSource {
 public:
  explicit InstanceMetadata(std::string endpoint) : endpoint_(std::move(endpoint)) {}

  Result<TemporaryCredentials> Ask(std::chrono::steady_clock::time_point deadline,
                                   const std::stop_token& stop) override {
    auto token = Token(deadline, stop);
    if (!token) return Fail(token.error());
    auto roles = Get(std::string(kRolePath), *token, deadline, stop);
    if (!roles) return Fail(roles.error());
    const std::string role = roles->substr(0, roles->find_first_of("\r\n"));
    if (role.empty() || role.size() > kLongestRoleName ||
        !std::all_of(role.begin(), role.end(), IsRoleCharacter)) {
      return Fail(Code::kUnavailable, "the answer's name of the role is missing or malformed");
    }
    auto answer = Get(std::string(kRolePath) + role, *token, deadline, stop);
    if (!answer) return Fail(answer.error());
    return ParseCredentialsJson(*answer);
  }
  [[nodiscard]] std::string_view Name() const override { return "instance"; }
  [[nodiscard]] std::string Place() const override { return endpoint_; }

 private:
  Result<platform::Secret> Token(std::chrono::steady_clock::time_point deadline,
                                 const std::stop_token& stop) const {
    CredentialRequest request;
    request.url = endpoint_ + "/latest/api/token";
    request.method = CredentialRequest::Method::kPut;
    request.headers = {{"X-aws-ec2-metadata-token-ttl-seconds", kTokenLife}};
    request.route = CredentialRequest::Route::kDirect;
    auto answer = AskForCredentials(request, deadline, stop);
    if (!answer) {
      Error error = answer.error();
      error.message +=
          ": a pod reaches the metadata service only on the host's network or with a hop limit of "
          "at least 2";
      return Fail(std::move(error));
    }
    if (answer->status != 200) {
      return Fail(JudgeCredentialStatus(answer->status,
                                        "the metadata service gives no token: check that it is "
                                        "enabled, and option \"metadataEndpoint\""));
    }
    if (answer->body.empty() || !IsHeaderText(answer->body, kLongestMetadataToken)) {
      return Fail(Code::kUnavailable, "the answer's token is missing, overlong or malformed");
    }
    return platform::Secret(std::move(answer->body));
  }

  Result<std::string> Get(const std::string& path, const platform::Secret& token,
                          std::chrono::steady_clock::time_point deadline,
                          const std::stop_token& stop) const {
    CredentialRequest request;
    request.url = endpoint_ + path;
    request.headers = {{"X-aws-ec2-metadata-token", token.Reveal()}};
    request.route = CredentialRequest::Route::kDirect;
    auto answer = AskForCredentials(request, deadline, stop);
    if (!answer) return Fail(answer.error());
    if (answer->status == 404) {
      return Fail(Code::kPermissionDenied,
                  "the machine has no role: attach an instance profile with a role that may read "
                  "the bucket (HTTP 404)");
    }
    if (answer->status != 200) {
      return Fail(JudgeCredentialStatus(answer->status, "the metadata service refuses"));
    }
    return std::move(answer->body);
  }

  const std::string endpoint_;
};

}  // namespace

Result<std::unique_ptr<CredentialsSource>> MakeInstanceMetadata(
    const S3Options& options, const IdentityEnvironment& environment) {
  std::string endpoint = options.metadata_endpoint;
  if (endpoint.empty() && !environment.metadata_endpoint.empty()) {
    const auto named = ParseEndpoint(environment.metadata_endpoint);
    if (!named) {
      return Fail(named.error().Wrap("environment variable AWS_EC2_METADATA_SERVICE_ENDPOINT"));
    }
    endpoint = named->Url();
  }
  if (endpoint.empty()) endpoint = kServiceAddress;
  return std::make_unique<InstanceMetadata>(std::move(endpoint));
}

}  // namespace sluice::origin
