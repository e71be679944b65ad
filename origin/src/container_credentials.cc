#include "container_credentials.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "credential_request.h"
#include "credentials_json.h"
#include "secret_file.h"
#include "url.h"

namespace sluice::origin {
namespace {

constexpr std::string_view kAgentOfEcs = "http://169.254.170.2";
constexpr std::string_view kUriVariable = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
constexpr std::size_t kLongestAuthorization = 16U << 10;

// Whether plain HTTP may go there: this machine, or the link-local address of an agent.
bool IsAgentHost(const std::string& host) {
  if (host == "localhost") return true;
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) {
    return ntohl(four.s_addr) >> 24 == 127 || host == "169.254.170.2" || host == "169.254.170.23";
  }
  if (host.size() < 2 || host.front() != '[' || host.back() != ']') return false;
  in6_addr six{};
  in6_addr agent{};
  const std::string inside = host.substr(1, host.size() - 2);
  return ::inet_pton(AF_INET6, inside.c_str(), &six) == 1 &&
         ::inet_pton(AF_INET6, "fd00:ec2::23", &agent) == 1 &&
         (IN6_IS_ADDR_LOOPBACK(&six) || std::memcmp(&six, &agent, sizeof(six)) == 0);
}

class ContainerCredentials final : public CredentialsSource {
 public:
  ContainerCredentials(Url url, std::string token_file, platform::Secret token)
      : url_(std::move(url)), token_file_(std::move(token_file)), token_(std::move(token)) {}

  Result<TemporaryCredentials> Ask(std::chrono::steady_clock::time_point deadline,
                                   const std::stop_token& stop) override {
    auto authorization = Authorization();
    if (!authorization) return Fail(authorization.error());
    CredentialRequest request;
    request.url = url_.Text();
    request.headers = {{"Accept", "application/json"}};
    if (!authorization->Empty()) {
      request.headers.emplace_back("Authorization", authorization->Reveal());
    }
    if (url_.scheme == "http") request.route = CredentialRequest::Route::kDirect;
    auto answer = AskForCredentials(request, deadline, stop);
    if (!answer) return Fail(answer.error());
    if (answer->status != 200) {
      return Fail(JudgeCredentialStatus(
          answer->status,
          "the agent refuses: check the pod identity association (or task role) of the pod's "
          "service account, and the agent's log"));
    }
    return ParseCredentialsJson(answer->body);
  }
  [[nodiscard]] std::string_view Name() const override { return "container"; }
  [[nodiscard]] std::string Place() const override { return url_.Server() + url_.path; }

 private:
  Result<platform::Secret> Authorization() const {
    if (!token_file_.empty()) {
      return ReadTokenFile(token_file_, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    }
    return token_;
  }

  const Url url_;
  const std::string token_file_;
  const platform::Secret token_;
};

Result<Url> AgentUrl(const IdentityEnvironment& environment) {
  const std::string& relative = environment.container_relative_uri;
  if (environment.container_full_uri.empty() && relative.empty()) {
    return Fail(
        Code::kInvalidArgument,
        fmt::format("option \"credentials\" is \"container\", but neither {} nor "
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is in the client's environment: "
                    "associate the pod's service account with a role (EKS Pod Identity)",
                    kUriVariable));
  }
  if (!relative.empty()) {  // it goes first with AWS's own tools
    auto url = ParseUrl(std::string(kAgentOfEcs) + relative);
    if (!relative.starts_with('/') || !url) {
      return Fail(Code::kInvalidArgument,
                  "environment variable AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must be a path that "
                  "begins with '/'");
    }
    return url;
  }
  auto url = ParseUrl(environment.container_full_uri);
  if (!url) return Fail(url.error().Wrap(fmt::format("environment variable {}", kUriVariable)));
  if (url->scheme != "https" && !IsAgentHost(url->host)) {
    return Fail(
        Code::kInvalidArgument,
        fmt::format("environment variable {} leads to host {}: only https, this machine "
                    "(127.0.0.1, [::1]) and the agents at 169.254.170.2, 169.254.170.23 and "
                    "[fd00:ec2::23] are asked for credentials",
                    kUriVariable, url->host));
  }
  return url;
}

}  // namespace

Result<std::unique_ptr<CredentialsSource>> MakeContainerCredentials(
    const IdentityEnvironment& environment) {
  auto url = AgentUrl(environment);
  if (!url) return Fail(url.error());
  if (!IsHeaderText(environment.container_token.Reveal(), kLongestAuthorization)) {
    return Fail(Code::kInvalidArgument,
                "environment variable AWS_CONTAINER_AUTHORIZATION_TOKEN is overlong or has "
                "characters that no header has");
  }
  return std::make_unique<ContainerCredentials>(std::move(*url), environment.container_token_file,
                                                environment.container_token);
}

}  // namespace sluice::origin
