// Those who hand out credentials, asked at a server that says what a test tells it to.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "container_credentials.h"
#include "fake_server.h"
#include "identity_fixture.h"
#include "instance_metadata.h"
#include "web_identity.h"

namespace sluice::origin {
namespace {

using test::Answer;
using test::AssumedRoleXml;
using test::CredentialsJson;
using test::FakeReply;
using test::FakeRequest;
using test::FakeServer;
using test::TokenFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Result<TemporaryCredentials> Ask(const Result<std::unique_ptr<CredentialsSource>>& source,
                                 std::chrono::milliseconds within = std::chrono::seconds(10)) {
  if (!source) return Fail(source.error());
  return (*source)->Ask(std::chrono::steady_clock::now() + within, {});
}

IdentityEnvironment WebEnvironment(const TokenFile& file) {
  IdentityEnvironment environment;
  environment.role_arn = "arn:aws:iam::123456789012:role/reader";
  environment.web_identity_token_file = file.Path();
  environment.role_session_name = "session-1";
  return environment;
}

S3Options OptionsWithSts(const FakeServer& server) {
  S3Options options;
  options.region = "eu-west-3";
  options.sts_endpoint = server.Endpoint();
  return options;
}

// ---- web identity -------------------------------------------------------------------------------

TEST(WebIdentityTest, ExchangesTheTokenInTheBodyOnly) {
  FakeServer server([](const FakeRequest&) { return Answer(200, AssumedRoleXml("ASIA1")); });
  const TokenFile file("hdr.p+y/l=.sig");
  const auto source = MakeWebIdentity(OptionsWithSts(server), WebEnvironment(file));
  const auto fresh = Ask(source);
  ASSERT_TRUE(fresh) << fresh.error().message;
  EXPECT_EQ(fresh->credentials.access_key_id, "ASIA1");
  const FakeRequest request = server.Requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/");
  EXPECT_TRUE(request.query.empty());
  EXPECT_EQ(request.headers.count("authorization"), 0U) << "the token is what is trusted";
  EXPECT_EQ(request.headers.at("content-type"), "application/x-www-form-urlencoded");
  const auto form = test::ParseForm(request.body);
  EXPECT_EQ(form.at("Action"), "AssumeRoleWithWebIdentity");
  EXPECT_EQ(form.at("Version"), "2011-06-15");
  EXPECT_EQ(form.at("RoleArn"), "arn:aws:iam::123456789012:role/reader");
  EXPECT_EQ(form.at("RoleSessionName"), "session-1");
  EXPECT_EQ(form.at("WebIdentityToken"), "hdr.p+y/l=.sig");

  file.Write("renewed");
  ASSERT_TRUE(Ask(source));
  EXPECT_EQ(test::ParseForm(server.Requests().at(1).body).at("WebIdentityToken"), "renewed")
      << "the kubelet has replaced the file";
}

TEST(WebIdentityTest, NamesItsSessionByItself) {
  FakeServer server([](const FakeRequest&) { return Answer(200, AssumedRoleXml("ASIA1")); });
  const TokenFile file("t");
  IdentityEnvironment environment = WebEnvironment(file);
  environment.role_session_name.clear();
  ASSERT_TRUE(Ask(MakeWebIdentity(OptionsWithSts(server), environment)));
  EXPECT_THAT(test::ParseForm(server.Requests().at(0).body).at("RoleSessionName"),
              ::testing::MatchesRegex("sluice-[0-9a-f]{16}"));
}

TEST(WebIdentityTest, AsksTheStsOfOptionEnvironmentOrRegion) {
  const TokenFile file("t");
  const auto place = [&](const S3Options& options, const IdentityEnvironment& environment) {
    const auto source = MakeWebIdentity(options, environment);
    return source ? (*source)->Place() : source.error().message;
  };
  S3Options options;
  options.region = "eu-west-3";
  IdentityEnvironment environment = WebEnvironment(file);
  EXPECT_EQ(place(options, environment),
            "https://sts.eu-west-3.amazonaws.com for role "
            "arn:aws:iam::123456789012:role/reader");
  environment.region = "cn-north-1";
  EXPECT_THAT(place(options, environment), HasSubstr("https://sts.cn-north-1.amazonaws.com.cn "));
  environment.sts_endpoint = "https://sts.example:8443/";
  EXPECT_THAT(place(options, environment), HasSubstr("https://sts.example:8443 for"));
  options.sts_endpoint = "http://minio:9000";
  EXPECT_THAT(place(options, environment), HasSubstr("http://minio:9000 for"));

  options.sts_endpoint.clear();
  environment.sts_endpoint = "ftp://x";
  EXPECT_THAT(place(options, environment), HasSubstr("AWS_ENDPOINT_URL_STS: the endpoint must be"));
  environment.sts_endpoint.clear();
  environment.region = "evil.example/";
  EXPECT_THAT(place(options, environment), HasSubstr("set option \"stsEndpoint\""));
}

TEST(WebIdentityTest, SaysWhatTheEnvironmentLacks) {
  const TokenFile file("t");
  const auto refusal = [&](auto spoil) {
    IdentityEnvironment environment = WebEnvironment(file);
    spoil(environment);
    const auto source = MakeWebIdentity({}, environment);
    EXPECT_FALSE(source);
    if (source) return std::string();
    EXPECT_EQ(source.error().code, Code::kInvalidArgument);
    return source.error().message;
  };
  EXPECT_THAT(refusal([](auto& e) { e.role_arn.clear(); }),
              AllOf(HasSubstr("AWS_ROLE_ARN is not in"), HasSubstr("eks.amazonaws.com/role-arn")));
  EXPECT_THAT(refusal([](auto& e) { e.web_identity_token_file.clear(); }),
              HasSubstr("AWS_WEB_IDENTITY_TOKEN_FILE is not in"));
  EXPECT_THAT(refusal([](auto& e) { e.role_arn = "role/reader"; }),
              HasSubstr("AWS_ROLE_ARN must be an ARN"));
  EXPECT_THAT(refusal([](auto& e) { e.role_arn = "arn:a\nb"; }), HasSubstr("AWS_ROLE_ARN must"));
  EXPECT_THAT(refusal([](auto& e) { e.role_session_name = "a b"; }),
              HasSubstr("AWS_ROLE_SESSION_NAME must be of 2 to 64"));
}

TEST(WebIdentityTest, ABadTokenFileIsNamed) {
  FakeServer server([](const FakeRequest&) { return Answer(200, AssumedRoleXml("ASIA1")); });
  const TokenFile file("line one\nline two");
  const auto binary = Ask(MakeWebIdentity(OptionsWithSts(server), WebEnvironment(file)));
  ASSERT_FALSE(binary);
  EXPECT_EQ(binary.error().code, Code::kPermissionDenied);
  EXPECT_THAT(binary.error().message, AllOf(HasSubstr("AWS_WEB_IDENTITY_TOKEN_FILE"),
                                            HasSubstr(file.Path()), Not(HasSubstr("line one"))));
  IdentityEnvironment environment = WebEnvironment(file);
  environment.web_identity_token_file += "-missing";
  const auto missing = Ask(MakeWebIdentity(OptionsWithSts(server), environment));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("-missing): No such file"));
  EXPECT_TRUE(server.Requests().empty());
}

struct StsAnswer {
  std::string name;
  FakeReply reply;
  Code code;
  std::string message;
};
void PrintTo(const StsAnswer& c, std::ostream* out) { *out << c.name; }

class StsAnswerTest : public ::testing::TestWithParam<StsAnswer> {};

TEST_P(StsAnswerTest, SaysWhatIsWrongAndWhetherAgain) {
  FakeServer server([](const FakeRequest&) { return GetParam().reply; });
  const TokenFile file("hunter2");
  const bool ends_by_time = GetParam().code == Code::kDeadlineExceeded;
  const auto fresh = Ask(MakeWebIdentity(OptionsWithSts(server), WebEnvironment(file)),
                         std::chrono::milliseconds(ends_by_time ? 1'000 : 20'000));
  ASSERT_FALSE(fresh);
  EXPECT_EQ(fresh.error().code, GetParam().code) << fresh.error().message;
  EXPECT_THAT(fresh.error().message,
              AllOf(HasSubstr(GetParam().message), Not(HasSubstr("hunter2"))));
  EXPECT_EQ(server.Requests().size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(
    Table, StsAnswerTest,
    ::testing::Values(StsAnswer{"AccessDenied", Answer(403, test::StsErrorXml("AccessDenied")),
                                Code::kPermissionDenied, "its trust policy must allow"},
                      StsAnswer{"InvalidToken",
                                Answer(400, test::StsErrorXml("InvalidIdentityToken")),
                                Code::kPermissionDenied, "OIDC issuer"},
                      StsAnswer{"Expired", Answer(400, test::StsErrorXml("ExpiredTokenException")),
                                Code::kPermissionDenied, "the kubelet renews the file"},
                      StsAnswer{"Throttled", Answer(400, test::StsErrorXml("Throttling")),
                                Code::kUnavailable, "slow down (Throttling, HTTP 400)"},
                      StsAnswer{"UnknownCode", Answer(400, test::StsErrorXml("Odd")),
                                Code::kPermissionDenied, "(HTTP 400) (Odd)"},
                      StsAnswer{"Failed", Answer(503, "<html>"), Code::kUnavailable, "HTTP 503"},
                      StsAnswer{"Redirect", Answer(307, "", {"Location: http://127.0.0.1:1/"}),
                                Code::kPermissionDenied, "HTTP 307"},
                      StsAnswer{"NoXml", Answer(200, "hunter"), Code::kUnavailable, "malformed"},
                      StsAnswer{"Endless", Answer(200, std::string(70'000, ' ')),
                                Code::kUnavailable, "more than 65536 bytes"},
                      StsAnswer{"Closed", FakeReply{"", FakeReply::Then::kClose},
                                Code::kUnavailable, "no answer"},
                      StsAnswer{"Silent", FakeReply{"", FakeReply::Then::kStall},
                                Code::kDeadlineExceeded, "no answer in time"}),
    [](const auto& row) { return row.param.name; });

// ---- container ----------------------------------------------------------------------------------

TEST(ContainerCredentialsTest, AsksTheAgentWithTheTokenOfTheFile) {
  FakeServer server([](const FakeRequest&) { return Answer(200, CredentialsJson("ASIA2")); });
  const TokenFile file("pod-token");
  IdentityEnvironment environment;
  environment.container_full_uri = server.Endpoint() + "/v1/credentials?x=1";
  environment.container_token_file = file.Path();
  const auto source = MakeContainerCredentials(environment);
  auto fresh = Ask(source);
  ASSERT_TRUE(fresh) << fresh.error().message;
  EXPECT_EQ(fresh->credentials.access_key_id, "ASIA2");
  EXPECT_EQ(server.Requests().at(0).method, "GET");
  EXPECT_EQ(server.Requests().at(0).path, "/v1/credentials");
  EXPECT_EQ(server.Requests().at(0).headers.at("authorization"), "pod-token");
  file.Write("renewed");
  ASSERT_TRUE(Ask(source));
  EXPECT_EQ(server.Requests().at(1).headers.at("authorization"), "renewed");
}

TEST(ContainerCredentialsTest, SendsTheTokenOfTheEnvironment) {
  FakeServer server([](const FakeRequest&) { return Answer(200, CredentialsJson("ASIA2")); });
  IdentityEnvironment environment;
  environment.container_full_uri = server.Endpoint() + "/c";
  environment.container_token = platform::Secret("Basic abc");
  ASSERT_TRUE(Ask(MakeContainerCredentials(environment)));
  EXPECT_EQ(server.Requests().at(0).headers.at("authorization"), "Basic abc");

  environment.container_token = platform::Secret("hunter2\r\nX: y");
  const auto source = MakeContainerCredentials(environment);
  ASSERT_FALSE(source);
  EXPECT_THAT(source.error().message,
              AllOf(HasSubstr("AWS_CONTAINER_AUTHORIZATION_TOKEN"), Not(HasSubstr("hunter2"))));
}

TEST(ContainerCredentialsTest, SaysThatTheAgentRefuses) {
  FakeServer server([](const FakeRequest&) { return Answer(404, "{}"); });
  IdentityEnvironment environment;
  environment.container_full_uri = server.Endpoint() + "/c";
  const auto refused = Ask(MakeContainerCredentials(environment));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  EXPECT_THAT(refused.error().message, HasSubstr("pod identity association"));
}

TEST(ContainerCredentialsTest, AsksOnlyAgents) {
  const auto made = [](const std::string& full, const std::string& relative = "") {
    IdentityEnvironment environment;
    environment.container_full_uri = full;
    environment.container_relative_uri = relative;
    return MakeContainerCredentials(environment);
  };
  for (const char* allowed :
       {"http://127.0.0.1:51679/c", "http://127.5.0.1/c", "http://[::1]:1/c", "http://localhost/c",
        "http://169.254.170.2/v2/c", "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::23]/v1/credentials", "http://[FD00:EC2:0:0::23]/c",
        "https://agent.example/c"}) {
    const auto source = made(allowed);
    EXPECT_TRUE(source) << allowed << ": " << source.error().message;
  }
  for (const char* other :
       {"http://169.254.169.254/c", "http://10.0.0.1/c", "http://127.0.0.1.evil.example/c",
        "http://127.evil.example/c", "http://169.254.170.2.evil.example/c", "http://0x7f.1/c",
        "http://agent.example/c", "http://[fd00:ec2::24]/c", "http://[::ffff:8.8.8.8]/c"}) {
    const auto source = made(other);
    ASSERT_FALSE(source) << other;
    EXPECT_EQ(source.error().code, Code::kInvalidArgument);
    EXPECT_THAT(source.error().message, AllOf(HasSubstr("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                                              HasSubstr("169.254.170.23")));
  }
  for (const char* malformed : {"file:///etc/passwd", "127.0.0.1/c", "http://u:p@127.0.0.1/c"}) {
    const auto source = made(malformed);
    ASSERT_FALSE(source) << malformed;
    EXPECT_THAT(source.error().message, HasSubstr("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
  }
  const auto ecs = made("", "/v2/credentials/x");
  ASSERT_TRUE(ecs) << ecs.error().message;
  EXPECT_EQ((*ecs)->Place(), "http://169.254.170.2/v2/credentials/x");
  EXPECT_FALSE(made("", ".evil.example/")) << "the host must not grow";
  EXPECT_FALSE(made("", "@evil.example/"));
  const auto nothing = made("");
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().message, HasSubstr("EKS Pod Identity"));
}

// ---- instance -----------------------------------------------------------------------------------

FakeReply Metadata(const FakeRequest& r, std::string_view role = "node-role") {
  if (r.path == "/latest/api/token") {
    const bool asked = r.method == "PUT" &&
                       r.headers.count("x-aws-ec2-metadata-token-ttl-seconds") == 1 &&
                       r.body.empty();
    return asked ? Answer(200, "imds-token") : Answer(400, "");
  }
  const auto token = r.headers.find("x-aws-ec2-metadata-token");
  if (token == r.headers.end() || token->second != "imds-token") return Answer(401, "");
  const std::string base = "/latest/meta-data/iam/security-credentials/";
  if (r.path == base) return Answer(200, std::string(role));
  if (r.path == base + "node-role") return Answer(200, CredentialsJson("ASIA3"));
  return Answer(404, "");
}

S3Options OptionsWithMetadata(const FakeServer& server) {
  S3Options options;
  options.metadata_endpoint = server.Endpoint();
  return options;
}

TEST(InstanceMetadataTest, AsksForTokenRoleAndCredentials) {
  FakeServer server([](const FakeRequest& r) { return Metadata(r, "node-role\nother\n"); });
  const auto fresh = Ask(MakeInstanceMetadata(OptionsWithMetadata(server), {}));
  ASSERT_TRUE(fresh) << fresh.error().message;
  EXPECT_EQ(fresh->credentials.access_key_id, "ASIA3");
  EXPECT_EQ(server.Requests().size(), 3U);

  IdentityEnvironment environment;
  environment.metadata_endpoint = server.Endpoint() + "/";
  EXPECT_TRUE(Ask(MakeInstanceMetadata({}, environment)));
  environment.metadata_endpoint = "nonsense://";
  const auto malformed = MakeInstanceMetadata({}, environment);
  ASSERT_FALSE(malformed);
  EXPECT_THAT(malformed.error().message, HasSubstr("AWS_EC2_METADATA_SERVICE_ENDPOINT"));
  EXPECT_EQ((*MakeInstanceMetadata({}, {}))->Place(), "http://169.254.169.254");
}

TEST(InstanceMetadataTest, SaysWhatIsMissing) {
  const auto refusal = [](FakeServer::Handler handler) {
    FakeServer server(std::move(handler));
    const auto fresh = Ask(MakeInstanceMetadata(OptionsWithMetadata(server), {}));
    EXPECT_FALSE(fresh);
    return fresh ? std::string() : fresh.error().message;
  };
  EXPECT_THAT(refusal([](const FakeRequest&) { return Answer(403, ""); }),
              HasSubstr("gives no token"));
  EXPECT_THAT(refusal([](const FakeRequest&) { return Answer(200, "to\r\nken"); }),
              HasSubstr("token is missing, overlong or malformed"));
  EXPECT_THAT(refusal([](const FakeRequest& r) {
                return r.method == "PUT" ? Answer(200, "t") : Answer(404, "");
              }),
              HasSubstr("attach an instance profile"));
  for (const char* role : {"", "../x", "a b", "role?x"}) {
    EXPECT_THAT(refusal([&](const FakeRequest& r) { return Metadata(r, role); }),
                HasSubstr("name of the role"))
        << role;
  }
  EXPECT_THAT(refusal([](const FakeRequest&) {
                return FakeReply{"", FakeReply::Then::kClose};
              }),
              HasSubstr("hop limit"));
}

TEST(InstanceMetadataTest, EndsWithTheDeadlineAndWithAStop) {
  FakeServer server([](const FakeRequest&) { return FakeReply{"", FakeReply::Then::kStall}; });
  const auto source = MakeInstanceMetadata(OptionsWithMetadata(server), {});
  const auto begin = std::chrono::steady_clock::now();
  const auto late = Ask(source, std::chrono::milliseconds(200));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kDeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  const auto stopped =
      (*source)->Ask(std::chrono::steady_clock::now() + std::chrono::hours(1), stop.get_token());
  EXPECT_FALSE(stopped);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
}

}  // namespace
}  // namespace sluice::origin
