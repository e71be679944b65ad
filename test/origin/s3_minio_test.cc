// The S3 adapter against a real server: signatures, conditions, listings, odd names, restarts.
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/make_origin.h"

#include "fake_server.h"
#include "minio_server.h"
#include "read_all.h"
#include "write_all.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// One server for the whole program: it takes a second to start.
class MinioTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto server = test::MinioServer::Start();
    if (server) {
      server_ = std::move(*server);
      const Status made = server_->MakeBucket("models");
      ASSERT_TRUE(made) << made.error().message;
    } else {
      why_not_ = server.error();
    }
  }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    if (server_ != nullptr) return;
    if (why_not_.code == Code::kNotFound) GTEST_SKIP() << why_not_.message;
    FAIL() << why_not_.message;
  }

  std::unique_ptr<Origin> Open(const MountConfig& mount, const OriginLimits& limits = {}) {
    auto origin = MakeOrigin(mount, limits, metrics_, log_);
    EXPECT_TRUE(origin) << origin.error().message;
    return origin ? std::move(*origin) : nullptr;
  }
  std::unique_ptr<Origin> Open(const std::string& point) { return Open(server_->Mount(point)); }

  inline static std::unique_ptr<test::MinioServer> server_;
  inline static Error why_not_;
  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
};

std::string Pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + (i >> 8));
  return bytes;
}

TEST_F(MinioTest, ListsAndReadsRanges) {
  const std::string bytes = Pattern(20'000'000);
  ASSERT_TRUE(server_->Put("models", "basic/dir/weights.bin", bytes));
  ASSERT_TRUE(server_->Put("models", "basic/empty", ""));
  auto origin = Open("s3://models/basic");
  const auto listing = origin->List();
  ASSERT_TRUE(listing) << listing.error().message;
  ASSERT_EQ(listing->objects.size(), 2U);
  const OriginObject& object = listing->objects[0];
  EXPECT_EQ(object.path, "dir/weights.bin");
  EXPECT_EQ(object.size, bytes.size());

  std::vector<std::future<ReadResult>> reads;
  constexpr std::size_t kChunk = 1'048'576;
  for (std::size_t at = 0; at < bytes.size(); at += kChunk) {
    reads.push_back(StartRead(*origin, object, at, std::min(kChunk, bytes.size() - at)));
  }
  std::string together;
  for (auto& read : reads) {
    ReadResult result = read.get();
    ASSERT_TRUE(result.status) << result.status.error().message;
    together += result.bytes;
  }
  EXPECT_TRUE(together == bytes);
}

TEST_F(MinioTest, ListsMoreThanOnePage) {
  for (int i = 0; i < 1050; ++i) {
    ASSERT_TRUE(server_->Put("models", fmt::format("pages/{:05}", i), "x"));
  }
  const auto listing = Open("s3://models/pages")->List();
  ASSERT_TRUE(listing) << listing.error().message;
  ASSERT_EQ(listing->objects.size(), 1050U);
  EXPECT_EQ(listing->objects.front().path, "00000");
  EXPECT_EQ(listing->objects.back().path, "01049");
}

TEST_F(MinioTest, OddNamesSurvive) {
  const std::vector<std::string> legal = {"new\nline",
                                          "\xe6\xa8\xa1\xe5\x9e\x8b.bin",
                                          "with space",
                                          "plus+and%2Bpercent%",
                                          "a&b=c?d#e",
                                          "quote\"'<>",
                                          "tab\there",
                                          "back\\slash",
                                          "trailing ",
                                          "~tilde",
                                          "...",
                                          "\x01\x02",
                                          "semi;colon,comma",
                                          std::string(255, 'n')};
  // The server refuses some names itself; then they are none of ours.
  std::map<std::string, std::string> accepted;
  for (const std::string& name : legal) {
    const std::string content = fmt::format("content {}", accepted.size());
    if (server_->Put("models", "odd/" + name, content)) accepted[name] = content;
  }
  for (const std::string& name : {std::string(300, 'n'), std::string("up/../../x")}) {
    (void)server_->Put("models", "odd/" + name, "must not appear");
  }
  EXPECT_GE(accepted.size(), 10U);
  auto origin = Open("s3://models/odd");
  const auto listing = origin->List();
  ASSERT_TRUE(listing) << listing.error().message;
  std::map<std::string, std::string> read;
  for (const OriginObject& object : listing->objects) {
    const ReadResult result = ReadWhole(*origin, object);
    EXPECT_TRUE(result.status) << object.path << ": " << result.status.error().message;
    read[object.path] = result.bytes;
  }
  EXPECT_EQ(read, accepted);
}

TEST_F(MinioTest, RefusedCredentialsAreExplained) {
  MountConfig mount = server_->Mount("s3://models");
  mount.secret_files.clear();
  mount.options["accessKeyId"] = "nosuchkey";
  mount.options["secretAccessKey"] = server_->SecretKey();
  auto listing = Open(mount)->List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kPermissionDenied);
  EXPECT_THAT(listing.error().message,
              AllOf(HasSubstr("s3://models/ at http://127.0.0.1:"), HasSubstr("InvalidAccessKeyId"),
                    HasSubstr("check the Secret's accessKeyId"), Not(HasSubstr("nosuchkey"))));

  mount.options["accessKeyId"] = server_->AccessKey();
  mount.options["secretAccessKey"] = "wrong-secret";
  auto origin = Open(mount);
  listing = origin->List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kPermissionDenied);
  EXPECT_THAT(listing.error().message,
              AllOf(HasSubstr("SignatureDoesNotMatch"), HasSubstr("secretAccessKey"),
                    Not(HasSubstr("wrong-secret")), Not(HasSubstr(server_->AccessKey()))));

  mount.options.erase("accessKeyId");
  mount.options.erase("secretAccessKey");
  listing = Open(mount)->List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kPermissionDenied);
  EXPECT_THAT(listing.error().message, HasSubstr("AccessDenied"));
}

TEST_F(MinioTest, WhatIsMissingIsNamed) {
  const auto listing = Open("s3://no-such-bucket/x")->List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kNotFound);
  EXPECT_THAT(listing.error().message,
              AllOf(HasSubstr("s3://no-such-bucket"), HasSubstr("NoSuchBucket")));
  OriginObject gone;
  gone.path = "no/such";
  gone.size = 1;
  const ReadResult read = ReadWhole(*Open("s3://models"), gone);
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kNotFound);
  EXPECT_THAT(read.status.error().message,
              AllOf(HasSubstr("s3://models/no/such"), HasSubstr("NoSuchKey")));
}

TEST_F(MinioTest, AReplacedObjectIsAConflict) {
  ASSERT_TRUE(server_->Put("models", "change/f", Pattern(1'000'000)));
  auto origin = Open("s3://models/change");
  const auto object = Find(*origin, "f");
  ASSERT_TRUE(object) << object.error().message;
  EXPECT_TRUE(ReadRange(*origin, *object, 0, 1000).status);
  ASSERT_TRUE(server_->Put("models", "change/f", std::string(1'000'000, 'n')));
  const ReadResult read = ReadRange(*origin, *object, 1000, 1000);
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kConflict);
  EXPECT_EQ(read.bytes, "");
  ASSERT_TRUE(server_->Delete("models", "change/f"));
  EXPECT_EQ(ReadRange(*origin, *object, 0, 10).status.error().code, Code::kNotFound);
}

// An STS for service accounts, whose credentials MinIO's own STS makes.
class WebIdentityMinioTest : public MinioTest {
 protected:
  WebIdentityMinioTest() {
    sts_ = std::make_unique<test::FakeServer>([this](const test::FakeRequest& request) {
      if (test::ParseForm(request.body)["WebIdentityToken"] != "service-account-token") {
        return test::Answer(400,
                            "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error>"
                            "</ErrorResponse>");
      }
      auto assumed = server_->AssumeRole();
      if (!assumed) return test::Answer(500, assumed.error().message);
      return test::Answer(200, *assumed);
    });
  }
  ~WebIdentityMinioTest() override {
    ::unsetenv("AWS_ROLE_ARN");
    ::unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
  }

  // An origin that finds its identity in the environment.
  std::unique_ptr<Origin> OpenWithToken(const std::string& token) {
    const std::string file = server_->Directory() + "/service-account-token";
    std::ofstream(file) << token << "\n";
    ::setenv("AWS_ROLE_ARN", "arn:minio:iam:::role/reader", 1);
    ::setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file.c_str(), 1);
    MountConfig mount;
    mount.mount_point = "minio://models/identity";
    mount.path = "/";
    mount.options = {{"endpoint", server_->Endpoint()},
                     {"stsEndpoint", sts_->Endpoint()},
                     {"requesterPays", "true"}};
    return Open(mount);
  }
  std::unique_ptr<test::FakeServer> sts_;
};

TEST_F(WebIdentityMinioTest, ReadsWithWhatTheStsHandsOut) {
  const std::string bytes = Pattern(3'000'000);
  ASSERT_TRUE(server_->Put("models", "identity/f", bytes));
  auto origin = OpenWithToken("service-account-token");
  const auto object = Find(*origin, "f");
  ASSERT_TRUE(object) << object.error().message;
  std::vector<std::future<ReadResult>> reads;
  for (std::size_t at = 0; at < bytes.size(); at += 1'000'000) {
    reads.push_back(StartRead(*origin, *object, at, 1'000'000));
  }
  std::string together;
  for (auto& read : reads) {
    ReadResult result = read.get();
    ASSERT_TRUE(result.status) << result.status.error().message;
    together += result.bytes;
  }
  EXPECT_TRUE(together == bytes);
  EXPECT_EQ(sts_->Requests().size(), 1U);
}

TEST_F(WebIdentityMinioTest, SaysThatTheStsRefusesTheToken) {
  auto origin = OpenWithToken("stolen");
  const auto listing = origin->List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kPermissionDenied);
  EXPECT_THAT(listing.error().message,
              AllOf(HasSubstr("credentials (web-identity) from " + sts_->Endpoint()),
                    HasSubstr("OIDC issuer"), Not(HasSubstr("stolen"))));
}

TEST_F(MinioTest, ARestartOfTheServerIsSurvived) {
  const std::string bytes = Pattern(500'000);
  ASSERT_TRUE(server_->Put("models", "restart/f", bytes));
  OriginLimits limits;
  limits.max_attempts = 3;
  limits.first_backoff = milliseconds(5);
  limits.max_backoff = milliseconds(20);
  auto origin = Open(server_->Mount("s3://models/restart"), limits);
  const auto object = Find(*origin, "f");
  ASSERT_TRUE(object) << object.error().message;
  EXPECT_TRUE(ReadWhole(*origin, *object).status);
  server_->Stop();
  const ReadResult down = ReadWhole(*origin, *object);
  ASSERT_FALSE(down.status);
  EXPECT_EQ(down.status.error().code, Code::kUnavailable);
  ASSERT_TRUE(server_->Restart());
  const ReadResult up = ReadWhole(*origin, *object);
  ASSERT_TRUE(up.status) << up.status.error().message;
  EXPECT_TRUE(up.bytes == bytes);
}

TEST_F(MinioTest, APatientReadOutlivesARestart) {
  const std::string bytes = Pattern(500'000);
  ASSERT_TRUE(server_->Put("models", "patient/f", bytes));
  OriginLimits limits;
  limits.max_attempts = 1000;
  limits.max_backoff = milliseconds(200);
  auto origin = Open(server_->Mount("s3://models/patient"), limits);
  const auto object = Find(*origin, "f");
  ASSERT_TRUE(object) << object.error().message;
  server_->Stop();
  auto read = StartRead(*origin, *object, 0, object->size);
  ASSERT_TRUE(server_->Restart());
  const ReadResult result = read.get();
  ASSERT_TRUE(result.status) << result.status.error().message;
  EXPECT_TRUE(result.bytes == bytes);
}

// ---- writing -----------------------------------------------------------------------------------

TEST_F(MinioTest, WhatIsWrittenIsListedAsItWasTold) {
  auto origin = Open("s3://models/written");
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{20'000'000}}) {
    FakeRecords records;
    const std::string bytes = Pattern(size);
    const auto upload = origin->Writer()->Begin("a b/\xe6\xa8\xa1+%", 1ULL << 30, records);
    ASSERT_TRUE(upload);
    const Written written = WriteAll(**upload, bytes);
    ASSERT_TRUE(written.status) << written.status.error().message;
    const auto listing = origin->List();
    ASSERT_TRUE(listing && listing->objects.size() == 1);
    EXPECT_EQ(listing->objects[0].path, written.object.path);
    EXPECT_EQ(listing->objects[0].version, written.object.version);
    EXPECT_EQ(listing->objects[0].size, size);
    // As it was told, without the listing.
    const ReadResult read = ReadRange(*origin, written.object, 0, size);
    ASSERT_TRUE(read.status) << read.status.error().message;
    EXPECT_TRUE(read.bytes == bytes);
    EXPECT_EQ(server_->UnfinishedUploads(), 0U);
  }
}

TEST_F(MinioTest, AnUploadThatIsLeftIsGivenUpByItsRecord) {
  FakeRecords records;
  auto origin = Open("s3://models/left");
  auto upload = origin->Writer()->Begin("half", 1ULL << 30, records);
  ASSERT_TRUE(upload);
  ASSERT_TRUE(StartAppend(**upload, Pattern(8 << 20)).get().status);
  EXPECT_EQ(server_->UnfinishedUploads(), 1U);
  // Another process does it.
  ASSERT_EQ(records.All().size(), 1U);
  const Status given_up = Open("s3://models/left")->Writer()->GiveUp(records.All()[0]);
  EXPECT_TRUE(given_up) << given_up.error().message;
  EXPECT_EQ(server_->UnfinishedUploads(), 0U);
  EXPECT_TRUE(origin->List()->objects.empty());
  EXPECT_TRUE(origin->Writer()->GiveUp(records.All()[0])) << "it is not there any more";
}

TEST_F(MinioTest, RenamingKeepsTheBytes) {
  FakeRecords records;
  auto origin = Open("s3://models/renamed");
  const std::string bytes = Pattern(9'000'000);
  auto upload = origin->Writer()->Begin("x y.tmp", 1ULL << 30, records);
  const Written written = WriteAll(**upload, bytes);
  ASSERT_TRUE(written.status);
  const Written renamed = origin->Writer()->Rename(written.object, "x y");
  ASSERT_TRUE(renamed.status) << renamed.status.error().message;
  const auto listing = origin->List();
  ASSERT_TRUE(listing && listing->objects.size() == 1);
  EXPECT_EQ(listing->objects[0].path, "x y");
  EXPECT_EQ(listing->objects[0].version, renamed.object.version);
  EXPECT_TRUE(ReadRange(*origin, renamed.object, 0, bytes.size()).bytes == bytes);
  OriginObject other = renamed.object;
  other.version = "other";
  EXPECT_EQ(origin->Writer()->Rename(other, "z").status.error().code, Code::kConflict);
}

}  // namespace
}  // namespace sluice::origin
