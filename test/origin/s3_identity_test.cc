// Reads that are signed with credentials from a role: store and STS are one misbehaving server.
#include <atomic>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_server.h"
#include "identity_fixture.h"
#include "make_credentials.h"
#include "open_s3_origin.h"
#include "read_all.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using test::Answer;
using test::FakeReply;
using test::FakeRequest;
using test::FakeServer;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kToken = "service-account-token";

OriginObject Object(std::string path, std::uint64_t size) {
  OriginObject object;
  object.path = std::move(path);
  object.size = size;
  object.version = "v1";
  return object;
}

FakeReply Whole(std::string_view bytes) { return Answer(200, bytes, {"ETag: \"v1\""}); }

class S3IdentityTest : public ::testing::Test {
 protected:
  S3IdentityTest() {
    origin_limits_.max_attempts = 3;
    origin_limits_.first_backoff = milliseconds(1);
    origin_limits_.max_backoff = milliseconds(4);
    renewal_limits_.first_backoff = renewal_limits_.max_backoff = milliseconds(1);
    // A refused key is renewed however fresh it is: the test does not wait.
    renewal_limits_.refusal_pause = std::chrono::seconds(0);
  }

  // s3://bkt at a server whose POST is an STS.
  Origin& Open(FakeServer::Handler store, FakeServer::Handler sts) {
    server_ = std::make_unique<FakeServer>(
        [store = std::move(store), sts = std::move(sts)](const FakeRequest& r) {
          return r.method == "POST" ? sts(r) : store(r);
        });
    MountConfig mount;
    mount.mount_point = "s3://bkt";
    mount.options = {{"endpoint", server_->Endpoint()},
                     {"stsEndpoint", server_->Endpoint()},
                     {"credentials", "web-identity"},
                     {"requesterPays", "true"}};
    const auto options = ResolveS3Options(mount);
    EXPECT_TRUE(options) << options.error().message;
    IdentityEnvironment environment;
    environment.role_arn = "arn:aws:iam::123456789012:role/reader";
    environment.web_identity_token_file = token_.Path();
    auto credentials = MakeCredentials(
        *options,
        {.environment = std::move(environment), .limits = renewal_limits_, .clock = clock_},
        metrics_, log_);
    EXPECT_TRUE(credentials) << credentials.error().message;
    origin_ = OpenS3Origin(*options, std::move(*credentials), origin_limits_, metrics_, log_);
    return *origin_;
  }
  std::size_t AskedOfSts() const {
    std::size_t asked = 0;
    for (const FakeRequest& request : server_->Requests())
      asked += request.method == "POST" ? 1 : 0;
    return asked;
  }

  const test::TokenFile token_{kToken};
  const SystemClock clock_;
  OriginLimits origin_limits_;
  RenewalLimits renewal_limits_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kDebug};
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(S3IdentityTest, SignsWithTheRolesKeyTokenAndPayer) {
  testing::internal::CaptureStderr();
  Origin& origin = Open(
      [](const FakeRequest& r) {
        if (r.path == "/bkt/" && r.query.count("list-type") == 1) {
          return Answer(200,
                        "<ListBucketResult><Contents><Key>a</Key><Size>5</Size>"
                        "<ETag>\"v1\"</ETag></Contents></ListBucketResult>");
        }
        return Whole("bytes");
      },
      [](const FakeRequest&) { return Answer(200, test::AssumedRoleXml("ASIA1")); });
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  const ReadResult read = ReadWhole(origin, Object("a", 5));
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, "bytes");
  EXPECT_EQ(AskedOfSts(), 1U);
  const auto requests = server_->Requests();
  ASSERT_EQ(requests.size(), 3U);
  for (const FakeRequest& request : {requests[1], requests[2]}) {
    EXPECT_EQ(request.headers.at("x-amz-security-token"), "session-of-ASIA1");
    EXPECT_EQ(request.headers.at("x-amz-request-payer"), "requester");
    EXPECT_THAT(request.headers.at("authorization"),
                AllOf(HasSubstr("Credential=ASIA1/"),
                      ContainsRegex("SignedHeaders=[a-z0-9;-]*x-amz-request-payer;"
                                    "x-amz-security-token")));
  }
  // What must not be seen: by proxies, in logs, in metrics.
  for (const FakeRequest& request : requests) {
    std::string url = request.path;
    for (const auto& [name, value] : request.query) url += name + value;
    EXPECT_THAT(url, AllOf(Not(HasSubstr(std::string(kToken))), Not(HasSubstr("ASIA1"))));
  }
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_THAT(logged, HasSubstr("credentials renewed"));
  for (const std::string& text : {logged, metrics_.Render()}) {
    EXPECT_THAT(text, AllOf(Not(HasSubstr(std::string(kToken))), Not(HasSubstr("ASIA1"))));
  }
  EXPECT_THAT(
      metrics_.Render(),
      HasSubstr("sluice_origin_credentials_total{result=\"renewed\",source=\"web-identity\"} 1"));
}

TEST_F(S3IdentityTest, ReadsThatWaitShareOneRenewal) {
  Origin& origin =
      Open([](const FakeRequest&) { return Whole("bytes"); },
           [](const FakeRequest&) { return Answer(200, test::AssumedRoleXml("ASIA1")); });
  std::vector<std::future<ReadResult>> reads;
  for (int i = 0; i < 32; ++i) reads.push_back(StartRead(origin, Object("a", 5), 0, 5));
  for (auto& read : reads) EXPECT_EQ(read.get().bytes, "bytes");
  EXPECT_EQ(AskedOfSts(), 1U);
}

TEST_F(S3IdentityTest, AKeyThatTheStoreRefusesIsRenewedOnce) {
  std::atomic<int> given = 0;
  Origin& origin = Open(
      [](const FakeRequest& r) {
        const bool fresh = r.headers.at("authorization").find("=ASIA2/") != std::string::npos;
        return fresh ? Whole("bytes") : Answer(403, "<Error><Code>ExpiredToken</Code></Error>");
      },
      [&](const FakeRequest&) {
        return Answer(200, test::AssumedRoleXml(fmt::format("ASIA{}", ++given)));
      });
  std::vector<std::future<ReadResult>> reads;
  for (int i = 0; i < 8; ++i) reads.push_back(StartRead(origin, Object("a", 5), 0, 5));
  for (auto& read : reads) {
    const ReadResult result = read.get();
    EXPECT_EQ(result.bytes, "bytes") << result.status.error().message;
  }
  EXPECT_EQ(AskedOfSts(), 2U);
}

TEST_F(S3IdentityTest, AStoreThatRefusesEveryKeyEndsTheRead) {
  renewal_limits_.refusal_pause = std::chrono::seconds(30);
  Origin& origin = Open(
      [](const FakeRequest&) {
        return Answer(403, "<Error><Code>InvalidAccessKeyId</Code></Error>");
      },
      [](const FakeRequest&) { return Answer(200, test::AssumedRoleXml("ASIA1")); });
  const ReadResult read = ReadWhole(origin, Object("a", 5));
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kPermissionDenied);
  EXPECT_THAT(read.status.error().message, HasSubstr("must be one of this store"));
  EXPECT_EQ(AskedOfSts(), 1U) << "a fresh key is not refused for its age";
}

TEST_F(S3IdentityTest, ADeniedObjectAsksForNoOtherKey) {
  Origin& origin = Open(
      [](const FakeRequest&) { return Answer(403, "<Error><Code>AccessDenied</Code></Error>"); },
      [](const FakeRequest&) { return Answer(200, test::AssumedRoleXml("ASIA1")); });
  const ReadResult read = ReadWhole(origin, Object("a", 5));
  ASSERT_FALSE(read.status);
  EXPECT_THAT(read.status.error().message, HasSubstr("the client's role needs s3:ListBucket"));
  EXPECT_EQ(AskedOfSts(), 1U);
}

TEST_F(S3IdentityTest, AReadWithoutCredentialsNamesSourceEndpointAndFix) {
  Origin& origin =
      Open([](const FakeRequest&) { return Whole("bytes"); },
           [](const FakeRequest&) { return Answer(403, test::StsErrorXml("AccessDenied")); });
  const ReadResult read = ReadWhole(origin, Object("a", 5));
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kPermissionDenied);
  EXPECT_THAT(read.status.error().message,
              AllOf(HasSubstr("s3://bkt/a at http://127.0.0.1:"),
                    HasSubstr("credentials (web-identity) from http://127.0.0.1:"),
                    HasSubstr("role arn:aws:iam::123456789012:role/reader"),
                    HasSubstr("its trust policy must allow"), Not(HasSubstr(std::string(kToken)))));
  EXPECT_EQ(server_->Requests().size(), 1U) << "nothing is asked of the store unsigned";
}

TEST_F(S3IdentityTest, TheDeadlineEndsTheWaitForCredentials) {
  origin_limits_.deadline = milliseconds(3'000);
  Origin& origin = Open([](const FakeRequest&) { return Whole("bytes"); },
                        [](const FakeRequest&) {
                          return FakeReply{"", FakeReply::Then::kStall};
                        });
  const ReadResult read = ReadWhole(origin, Object("a", 5));
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kDeadlineExceeded);
  EXPECT_THAT(read.status.error().message, HasSubstr("credentials were still being fetched"));
}

// ---- what the environment says ------------------------------------------------------------------

class ChosenSourceTest : public S3IdentityTest {
 protected:
  // The source that is chosen, or the message of the refusal.
  std::string Source(S3Options options, IdentityEnvironment environment) {
    const auto made = MakeCredentials(
        options,
        {.environment = std::move(environment), .limits = renewal_limits_, .clock = clock_},
        metrics_, log_);
    return made ? std::string((*made)->Source()) : made.error().message;
  }
};

TEST_F(ChosenSourceTest, IsWhatTheEnvironmentOffersUnlessTheOptionSays) {
  IdentityEnvironment all;
  all.region = "eu-west-3";
  all.role_arn = "arn:aws:iam::1:role/r";
  all.web_identity_token_file = "/token";
  all.container_full_uri = "http://169.254.170.23/v1/credentials";
  IdentityEnvironment half = all;
  half.web_identity_token_file.clear();
  IdentityEnvironment ecs;
  ecs.container_relative_uri = "/v2/c";
  S3Options options;
  options.endpoint = "https://s3.eu-west-3.amazonaws.com";
  EXPECT_EQ(Source(options, {}), "anonymous");
  EXPECT_EQ(Source(options, all), "web-identity");
  EXPECT_EQ(Source(options, half), "container");
  EXPECT_EQ(Source(options, ecs), "container");
  options.identity = S3Identity::kInstance;
  EXPECT_EQ(Source(options, all), "instance");
  options.identity = S3Identity::kAnonymous;
  EXPECT_EQ(Source(options, all), "anonymous");
  options.identity = S3Identity::kKeys;
  options.access_key_id = {"", "AK", "accessKeyId"};
  options.secret_access_key = {"", "SK", "secretAccessKey"};
  EXPECT_EQ(Source(options, all), "keys");
}

TEST_F(ChosenSourceTest, AnotherStoreIsNotShownTheIdentityUnlessItHasAnSts) {
  IdentityEnvironment all;
  all.region = "eu-west-3";
  all.role_arn = "arn:aws:iam::1:role/r";
  all.web_identity_token_file = "/token";
  S3Options options;
  for (const char* endpoint : {"http://minio:9000", "https://amazonaws.com.evil.example", ""}) {
    options.endpoint = endpoint;
    EXPECT_EQ(Source(options, all), "anonymous") << endpoint;
  }
  options.endpoint = "https://s3.cn-north-1.amazonaws.com.cn";
  EXPECT_EQ(Source(options, all), "web-identity");
  options.endpoint = "http://minio:9000";
  options.sts_endpoint = "http://minio:9000";
  EXPECT_EQ(Source(options, all), "web-identity");
}

TEST_F(ChosenSourceTest, NobodyPaysAnonymously) {
  S3Options options;
  options.requester_pays = true;
  EXPECT_THAT(Source(options, {}), HasSubstr("option \"requesterPays\" needs credentials"));
}

TEST_F(ChosenSourceTest, TheProcessesEnvironmentIsRead) {
  const std::vector<const char*> names = {"AWS_REGION",
                                          "AWS_ROLE_ARN",
                                          "AWS_WEB_IDENTITY_TOKEN_FILE",
                                          "AWS_ROLE_SESSION_NAME",
                                          "AWS_ENDPOINT_URL_STS",
                                          "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                          "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                          "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                          "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                          "AWS_EC2_METADATA_SERVICE_ENDPOINT"};
  for (const char* name : names) ::setenv(name, name, 1);
  const IdentityEnvironment read = ReadIdentityEnvironment();
  for (const char* name : names) ::unsetenv(name);
  EXPECT_EQ(read.region, names[0]);
  EXPECT_EQ(read.role_arn, names[1]);
  EXPECT_EQ(read.web_identity_token_file, names[2]);
  EXPECT_EQ(read.role_session_name, names[3]);
  EXPECT_EQ(read.sts_endpoint, names[4]);
  EXPECT_EQ(read.container_full_uri, names[5]);
  EXPECT_EQ(read.container_relative_uri, names[6]);
  EXPECT_EQ(read.container_token_file, names[7]);
  EXPECT_EQ(read.container_token.Reveal(), names[8]);
  EXPECT_EQ(read.metadata_endpoint, names[9]);
  ::setenv("AWS_DEFAULT_REGION", "r-2", 1);
  EXPECT_EQ(ReadIdentityEnvironment().region, "r-2");
  ::unsetenv("AWS_DEFAULT_REGION");
}

}  // namespace
}  // namespace sluice::origin
