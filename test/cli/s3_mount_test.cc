// Mounts of a real S3 server.
#include <future>

#include "fake_server.h"
#include "minio_server.h"
#include "mounted.h"

namespace sluice::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class S3MountTest : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (IsSkipped()) return;
    auto server = MinioServer::Start();
    if (!server && server.error().code == Code::kNotFound) GTEST_SKIP() << server.error().message;
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
    bytes_ = RandomBytes(16 << 20, 9);
    ASSERT_TRUE(server_->MakeBucket("models").has_value());
    ASSERT_TRUE(server_->Put("models", "llama/weights", bytes_).has_value());
    ASSERT_TRUE(server_->Put("models", "llama/sub dir/ö?&+%", "odd").has_value());
    ASSERT_TRUE(server_->Put("models", "llama/empty", "").has_value());
    ASSERT_TRUE(server_->Put("models", "other", "not below the prefix").has_value());
    variables_["AWS_ACCESS_KEY_ID"] = server_->AccessKey();
    variables_["AWS_SECRET_ACCESS_KEY"] = server_->SecretKey();
  }
  Outcome MountS3(const std::string& origin, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {
        "mount", origin, root_ / "mnt", "--endpoint", server_->Endpoint(), "--path-style"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Sluice(arguments);
  }

  std::unique_ptr<MinioServer> server_;
  std::string bytes_;
};

TEST_F(S3MountTest, ObjectsReadBackAndSecretsStayInTheirFiles) {
  const Outcome mounted = MountS3("s3://models/llama", {"--cache-dir", root_ / "cache"});
  ASSERT_EQ(mounted.status, 0) << mounted.output;
  EXPECT_TRUE(ReadBytes(root_ / "mnt/weights") == bytes_);
  EXPECT_EQ(ReadBytes(root_ / "mnt/sub dir/ö?&+%"), "odd");
  EXPECT_EQ(ReadBytes(root_ / "mnt/empty"), "");
  EXPECT_FALSE(fs::exists(root_ / "mnt/other"));
  const auto mount = OnlyMount();
  for (const char* const who : {"pid", "holderPid"}) {
    const fs::path process = "/proc/" + std::to_string(mount.value(who, 0));
    for (const char* const file : {"cmdline", "environ"}) {
      EXPECT_THAT(ReadBytes(process / file), Not(HasSubstr(server_->SecretKey()))) << who << file;
    }
  }
  EXPECT_THAT(mount.dump(), Not(HasSubstr(server_->SecretKey())));
}

TEST_F(S3MountTest, WrongSecretMissingBucketAndNoAccessFailAtOnceWithTheCause) {
  const auto begin = std::chrono::steady_clock::now();
  const Outcome missing = MountS3("s3://no-such-bucket");
  EXPECT_EQ(missing.status, 1);
  EXPECT_THAT(missing.output, HasSubstr("no-such-bucket"));
  EXPECT_THAT(missing.output, HasSubstr("check the bucket's name"));
  variables_["AWS_SECRET_ACCESS_KEY"] = "wrong-secret";
  const Outcome wrong = MountS3("s3://models");
  EXPECT_EQ(wrong.status, 1);
  EXPECT_THAT(wrong.output, HasSubstr("check the credentials"));
  EXPECT_THAT(wrong.output, Not(HasSubstr("wrong-secret")));
  variables_.erase("AWS_SECRET_ACCESS_KEY");
  variables_.erase("AWS_ACCESS_KEY_ID");
  EXPECT_EQ(MountS3("s3://models").status, 1) << "anonymous access is refused";
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_FALSE(IsMounted());
  EXPECT_TRUE(Mounts().empty());
}

TEST_F(S3MountTest, CredentialsFileWorks) {
  WriteBytes(root_ / "creds",
             "# comment\n[default]\naws_access_key_id=no\naws_secret_access_key=no\n"
             "[team]\naws_access_key_id = " +
                 server_->AccessKey() + "\naws_secret_access_key = " + server_->SecretKey() + "\n");
  variables_.erase("AWS_ACCESS_KEY_ID");
  variables_.erase("AWS_SECRET_ACCESS_KEY");
  const Outcome mounted =
      MountS3("s3://models/llama", {"--credentials-file", root_ / "creds", "--profile", "team"});
  ASSERT_EQ(mounted.status, 0) << mounted.output;
  EXPECT_EQ(ReadBytes(root_ / "mnt/sub dir/ö?&+%"), "odd");
}

TEST_F(S3MountTest, AnIdentityOfTheEnvironmentReachesTheClient) {
  FakeServer sts([&](const FakeRequest& request) {
    auto assumed = server_->AssumeRole();
    const bool trusted = ParseForm(request.body)["WebIdentityToken"] == "account-token";
    return trusted && assumed ? Answer(200, *assumed) : Answer(403, "");
  });
  WriteBytes(root_ / "account", "account-token\n");
  variables_.erase("AWS_ACCESS_KEY_ID");
  variables_.erase("AWS_SECRET_ACCESS_KEY");
  variables_["AWS_ROLE_ARN"] = "arn:minio:iam:::role/reader";
  variables_["AWS_WEB_IDENTITY_TOKEN_FILE"] = root_ / "account";
  variables_["AWS_ENDPOINT_URL_STS"] = sts.Endpoint();
  const Outcome mounted =
      MountS3("s3://models/llama", {"--credentials", "web-identity", "--requester-pays"});
  ASSERT_EQ(mounted.status, 0) << mounted.output;
  EXPECT_TRUE(ReadBytes(root_ / "mnt/weights") == bytes_);
  EXPECT_EQ(sts.Requests().size(), 1U);
}

TEST_F(S3MountTest, ReaderWaitsWhileTheOriginIsAway) {
  ASSERT_EQ(MountS3("s3://models/llama").status, 0);
  server_->Stop();
  auto reading = std::async(std::launch::async, [&] { return ReadBytes(root_ / "mnt/weights"); });
  EXPECT_EQ(reading.wait_for(std::chrono::milliseconds(700)), std::future_status::timeout);
  // Names and attributes come from the index.
  EXPECT_EQ(fs::file_size(root_ / "mnt/weights"), bytes_.size());
  ASSERT_TRUE(server_->Restart().has_value());
  ASSERT_EQ(reading.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_TRUE(reading.get() == bytes_);
}

TEST_F(S3MountTest, ClientKilledWhileTheOriginIsAwayServesWhatItHas) {
  ASSERT_EQ(MountS3("s3://models/llama", {"--cache-dir", root_ / "cache"}).status, 0);
  ASSERT_TRUE(ReadBytes(root_ / "mnt/weights") == bytes_);
  ASSERT_TRUE(Eventually(
      [&] { return OnlyMount().value("cachedBytes", std::size_t{0}) == bytes_.size(); }));
  server_->Stop();
  DropPages(root_ / "mnt/weights");
  const pid_t client = ClientPid();
  ::kill(client, SIGKILL);
  // The index is in the state that the holder keeps, the bytes are on the disk.
  auto reading = std::async(std::launch::async, [&] { return ReadBytes(root_ / "mnt/weights"); });
  ASSERT_EQ(reading.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_TRUE(reading.get() == bytes_);
}

}  // namespace
}  // namespace sluice::test
