#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/timestamp.h"
#include "sluice/platform/unique_fd.h"

#include "client_metrics.h"
#include "credentials.h"
#include "log_file.h"
#include "mount_request.h"
#include "restart_policy.h"
#include "runtime_directory.h"

namespace sluice::cli {
namespace {

using testing::HasSubstr;

TEST(CredentialsTest, ComeFromTheEnvironmentInPairs) {
  std::map<std::string, std::string> values;
  const Environment environment = [&](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
  EXPECT_FALSE(CredentialsFromEnvironment(environment)->Given()) << "anonymous";
  values["AWS_ACCESS_KEY_ID"] = "id";
  EXPECT_EQ(CredentialsFromEnvironment(environment).error().code, Code::kInvalidArgument);
  values["AWS_SECRET_ACCESS_KEY"] = "secret";
  values["AWS_SESSION_TOKEN"] = "token";
  const auto credentials = CredentialsFromEnvironment(environment);
  ASSERT_TRUE(credentials.has_value());
  EXPECT_EQ(credentials->secret_access_key.Reveal(), "secret");
  EXPECT_EQ(credentials->session_token.Reveal(), "token");
}

TEST(CredentialsTest, FileIsReadByProfile) {
  const std::string text =
      "\n; comment\n[default]\r\naws_access_key_id = A\naws_secret_access_key=S=with=equals\n"
      "[ other ]\naws_access_key_id=B\n";
  const auto credentials = ParseCredentialsFile(text, "default");
  ASSERT_TRUE(credentials.has_value()) << credentials.error().message;
  EXPECT_EQ(credentials->access_key_id.Reveal(), "A");
  EXPECT_EQ(credentials->secret_access_key.Reveal(), "S=with=equals");
  EXPECT_THAT(ParseCredentialsFile(text, "other").error().message, HasSubstr("secret access key"));
  EXPECT_EQ(ParseCredentialsFile(text, "none").error().code, Code::kNotFound);
  EXPECT_EQ(ParseCredentialsFile("[default]\n", "default").error().code, Code::kInvalidArgument);
  EXPECT_THAT(ParseCredentialsFile("[default]\nsecret-without-key\n", "default").error().message,
              testing::AllOf(HasSubstr("line 2"), testing::Not(HasSubstr("secret-without"))));
}

TEST(RestartPolicyTest, StartsAtOnceThenSlowerThenNeverAgain) {
  RestartPolicy policy;
  const std::chrono::milliseconds life(100);
  EXPECT_EQ(policy.OnDeath(life), std::chrono::milliseconds(0));
  std::chrono::milliseconds last{0};
  for (unsigned i = 2; i < RestartPolicy::kMaxShortLives; ++i) {
    const auto pause = policy.OnDeath(life);
    ASSERT_TRUE(pause.has_value());
    EXPECT_GE(*pause, last);
    last = *pause;
  }
  EXPECT_EQ(last, std::chrono::seconds(1));
  EXPECT_FALSE(policy.OnDeath(life).has_value());
}

TEST(RestartPolicyTest, ClientThatServedIsAlwaysReplacedAtOnce) {
  RestartPolicy policy;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(policy.OnDeath(std::chrono::seconds(3)), std::chrono::milliseconds(0));
    ASSERT_TRUE(policy.OnDeath(std::chrono::seconds(1)).has_value());
  }
}

TEST(ClientMetricsTest, ReadsSeriesAndSkipsTheRest) {
  const auto series =
      ParseExposition("# HELP a b\na 1\nb{x=\"y z\"} 2.5\nnonsense\n 3\nc +Inf\nd notanumber\n\n");
  EXPECT_EQ(series.at("a"), 1);
  EXPECT_EQ(series.at("b{x=\"y z\"}"), 2.5);
  EXPECT_FALSE(series.contains("nonsense"));
  EXPECT_FALSE(series.contains("d"));
  EXPECT_EQ(FetchMetrics("/no/such/socket").error().code, Code::kUnavailable);
  EXPECT_EQ(FetchMetrics(std::string(300, 'x')).error().code, Code::kInvalidArgument);
}

TEST(MountRecordTest, SurvivesJsonAndRefusesOtherThings) {
  MountRecord record;
  record.path = "/mnt/\xff";
  record.state = "ready";
  record.holder_pid = 7;
  record.device = 41;
  record.passthrough = false;
  const auto back = ParseMountRecord(ToJson(record));
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->path, record.path);
  EXPECT_EQ(back->holder_pid, 7);
  EXPECT_EQ(back->device, 41U);
  EXPECT_FALSE(back->passthrough);
  for (const char* const text : {"[]", "{}", "{\"path\": 1}", "nonsense"}) {
    EXPECT_FALSE(ParseMountRecord(Json::parse(text, nullptr, false)).has_value()) << text;
  }
}

TEST(LogFileTest, IsCutAtItsBoundAndKeepsWhatWasThereOnce) {
  std::string directory = std::filesystem::temp_directory_path() / "sluice-log-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const auto size = [&](const char* name) { return std::filesystem::file_size(directory + name); };
  BoundLog(directory, 10);  // none yet
  const platform::UniqueFd log(
      ::open((directory + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(log.Get(), "0123456789", 10), 10);
  BoundLog(directory, 10);
  EXPECT_EQ(size("/log"), 10U) << "within its bound";
  ASSERT_EQ(::write(log.Get(), "!", 1), 1);
  BoundLog(directory, 10);
  EXPECT_EQ(size("/log"), 0U);
  EXPECT_EQ(size("/log.1"), 11U);
  // Who has it open goes on at its beginning.
  ASSERT_EQ(::write(log.Get(), "0123456789ab", 12), 12);
  EXPECT_EQ(size("/log"), 12U);
  BoundLog(directory, 10);
  EXPECT_EQ(size("/log.1"), 12U);
  std::filesystem::remove_all(directory);
}

std::string ClientLine(int second, const std::string& level, const std::string& message) {
  return fmt::format(R"({{"time":"2026-11-26T04:00:{:02}Z","level":"{}","component":"sluice-fuse",)"
                     R"("message":"{}","error":"taken"}})",
                     second, level, message) +
         "\n";
}

TEST(LogFileTest, TellsWhatTheClientComplainedAboutLastSinceItsStart) {
  std::string directory = std::filesystem::temp_directory_path() / "sluice-log-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const auto at = [](int second) {
    return *ParseTime(fmt::format("2026-11-26T04:00:{:02}Z", second));
  };
  EXPECT_EQ(LastClientError(directory, at(0)), "");
  std::ofstream(directory + "/log.1")
      << ClientLine(10, "error", "of an earlier mount") << ClientLine(20, "error", "no metrics");
  EXPECT_EQ(LastClientError(directory, at(20)), "no metrics: taken") << "the log has been cut";
  EXPECT_EQ(LastClientError(directory, at(21)), "");
  std::ofstream(directory + "/log")
      << "not JSON\n"
      << ClientLine(30, "error", "no device") << ClientLine(31, "info", "news")
      << R"({"time":"2026-11-26T04:00:32Z","level":"error","component":"sluice-holder",)"
      << R"("message":"gave up"})"
      << "\n";
  EXPECT_EQ(LastClientError(directory, at(15)), "no device: taken");
  EXPECT_EQ(LastClientError(directory, at(31)), "") << "that was another client";
  std::filesystem::remove_all(directory);
}

TEST(CanonicalMountPathTest, ResolvesTheParentOnly) {
  EXPECT_EQ(*CanonicalMountPath("/tmp/./x/"), std::filesystem::canonical("/tmp") / "x");
  EXPECT_EQ(CanonicalMountPath("/").error().code, Code::kInvalidArgument);
  EXPECT_EQ(CanonicalMountPath("").error().code, Code::kInvalidArgument);
  EXPECT_EQ(CanonicalMountPath("/no/such/x").error().code, Code::kNotFound);
}

TEST(MountRequestTest, RefersToSecretsByFile) {
  MountRequest request;
  request.origin = "s3://bucket/p";
  request.path = "/mnt";
  request.endpoint = "http://h:1";
  request.path_style = true;
  const auto config = MakeConfig(request, true, false, "/dir");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->mounts[0].secret_files.at("secretAccessKey"), "/dir/secret-access-key");
  EXPECT_FALSE(config->mounts[0].secret_files.contains("sessionToken"));
  EXPECT_EQ(config->mounts[0].options.at("pathStyle"), "true");
}

TEST(MountRequestTest, PassesOnWhereCredentialsComeFromAndWhoPays) {
  MountRequest request;
  request.origin = "s3://bucket";
  request.path = "/mnt";
  request.credentials = "web-identity";
  request.requester_pays = true;
  const auto config = MakeConfig(request, false, false, "/dir");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->mounts[0].options.at("credentials"), "web-identity");
  EXPECT_EQ(config->mounts[0].options.at("requesterPays"), "true");
  EXPECT_EQ(MakeConfig(request, true, false, "/dir").error().code, Code::kInvalidArgument)
      << "keys are given, too";
  request.origin = "https://host/d/";
  EXPECT_EQ(MakeConfig(request, false, false, "").error().code, Code::kInvalidArgument);
}

TEST(MountRequestTest, PassesOnHowHardTheOriginMayBeWorked) {
  MountRequest request;
  request.origin = "file:///data";
  request.path = "/mnt";
  ASSERT_TRUE(MakeConfig(request, false, false, ""));
  EXPECT_TRUE(MakeConfig(request, false, false, "")->mounts[0].options.empty());
  request.bandwidth = "200Mi";
  request.max_connections = "32";
  request.hedge = false;
  const auto config = MakeConfig(request, false, false, "");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->mounts[0].options,
            (std::map<std::string, std::string>{
                {"bandwidth", "200Mi"}, {"hedge", "false"}, {"maxConnections", "32"}}));
  request.bandwidth = "fast";
  EXPECT_EQ(MakeConfig(request, false, false, "").error().code, Code::kInvalidArgument);
}

TEST(MountRequestTest, WritingIsForWhatTakesFiles) {
  MountRequest request;
  request.origin = "s3://bucket";
  request.path = "/mnt";
  EXPECT_TRUE(MakeConfig(request, false, false, "/dir")->mounts[0].read_only);
  request.read_write = true;
  for (const char* const origin : {"s3://bucket", "file:///data"}) {
    request.origin = origin;
    const auto config = MakeConfig(request, false, false, "/dir");
    ASSERT_TRUE(config.has_value()) << config.error().message;
    EXPECT_FALSE(config->mounts[0].read_only);
    EXPECT_EQ(config->access_modes, std::vector<std::string>{"ReadWriteMany"});
  }
  for (const char* const origin : {"https://host/d/", "hf://org/name"}) {
    request.origin = origin;
    EXPECT_EQ(MakeConfig(request, false, false, "").error().code, Code::kInvalidArgument);
  }
}

TEST(MountRequestTest, TheWebHasATokenAndNoKeys) {
  MountRequest request;
  request.path = "/mnt";
  request.token_file = "/home/me/token";
  for (const char* origin : {"https://host/d/", "hf://datasets/org/name@v1/d"}) {
    request.origin = origin;
    const auto config = MakeConfig(request, true, true, "/dir");
    ASSERT_TRUE(config.has_value()) << config.error().message;
    EXPECT_EQ(config->mounts[0].secret_files,
              (std::map<std::string, std::string>{{"token", "/home/me/token"}}));
    EXPECT_TRUE(CheckDirectories(request));
  }
  request.origin = "s3://bucket";
  EXPECT_EQ(MakeConfig(request, true, true, "/dir").error().code, Code::kInvalidArgument);
  request.origin = "hf://org/name@../x";
  EXPECT_EQ(MakeConfig(request, false, false, "").error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace sluice::cli
