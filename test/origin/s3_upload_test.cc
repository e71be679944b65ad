// New objects, against a server that misbehaves on purpose.
#include "s3_upload.h"

#include <eventually.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/make_origin.h"

#include "fake_server.h"
#include "write_all.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using test::Answer;
using test::Eventually;
using test::FakeReply;
using test::FakeRequest;
using test::FakeServer;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kLargest = 1ULL << 30;
constexpr std::size_t kPart = 8U << 20;

std::string BytesOfUpload(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<char>('a' + (i * 7 + i / 4096) % 23);
  return bytes;
}

FakeReply RefusedUpload(int status, std::string_view code) {
  return Answer(status, fmt::format("<Error><Code>{}</Code></Error>", code));
}

// A store that keeps parts and says what it should, but for what `spoil` says first.
class S3UploadTest : public ::testing::Test {
 protected:
  using Spoil = std::function<std::optional<FakeReply>(const FakeRequest&, unsigned count)>;

  void Start(Spoil spoil = [](const FakeRequest&, unsigned) { return std::nullopt; }) {
    spoil_ = std::move(spoil);
    server_ = std::make_unique<FakeServer>([this](const FakeRequest& request) {
      if (auto reply = spoil_(request, ++count_[request.method + KindOf(request)])) return *reply;
      return Good(request);
    });
    OriginLimits limits;
    limits.max_attempts = 4;
    limits.first_backoff = milliseconds(1);
    limits.max_backoff = milliseconds(2);
    MountConfig mount;
    mount.mount_point = "s3://bucket/run";
    mount.options = {
        {"endpoint", server_->Endpoint()}, {"accessKeyId", "AKID"}, {"secretAccessKey", "hunter2"}};
    auto origin = MakeOrigin(mount, limits, metrics_, log_);
    ASSERT_TRUE(origin) << origin.error().message;
    origin_ = std::move(*origin);
  }
  static std::string KindOf(const FakeRequest& request) {
    if (request.query.contains("uploads")) return " create";
    if (request.query.contains("partNumber")) return " part " + request.query.at("partNumber");
    if (request.query.contains("uploadId")) return " upload";
    return "";
  }
  FakeReply Good(const FakeRequest& request) {
    const std::string kind = request.method + KindOf(request);
    if (kind == "POST create") {
      mark_ = request.headers.at("x-amz-meta-sluice-upload");
      return Answer(200,
                    "<InitiateMultipartUploadResult><UploadId>id+/&amp;1</UploadId>"
                    "</InitiateMultipartUploadResult>");
    }
    if (kind.starts_with("PUT part ")) {
      parts_[std::stoi(kind.substr(9))] = request.body;
      return Answer(200, "", {"ETag: \"" + kind.substr(9) + "\""});
    }
    if (kind == "POST upload") {
      for (const auto& [number, bytes] : parts_) object_ += bytes;
      return Answer(200,
                    "<CompleteMultipartUploadResult><ETag>\"made-2\"</ETag>"
                    "</CompleteMultipartUploadResult>");
    }
    if (request.method == "PUT") {
      object_ = request.body;
      return Answer(200, "", {"ETag: \"whole\""});
    }
    return Answer(request.method == "DELETE" ? 204 : 200, "");
  }
  std::unique_ptr<ObjectUpload> Begin(const std::string& path = "a b") {
    auto upload = origin_->Writer()->Begin(path, kLargest, records_);
    EXPECT_TRUE(upload);
    return std::move(*upload);
  }
  [[nodiscard]] std::vector<std::string> Kinds() const {
    std::vector<std::string> kinds;
    for (const FakeRequest& request : server_->Requests()) {
      kinds.push_back(request.method + KindOf(request));
    }
    return kinds;
  }
  [[nodiscard]] bool WasAborted() const {
    const auto kinds = Kinds();
    return std::ranges::find(kinds, "DELETE upload") != kinds.end();
  }

  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  FakeRecords records_;
  Spoil spoil_;
  std::map<std::string, unsigned> count_;
  std::map<int, std::string> parts_;
  std::string object_;
  std::string mark_;
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(S3UploadTest, ASmallObjectIsOnePut) {
  Start();
  const auto upload = Begin();
  const Written written = WriteAll(*upload, "hello");
  ASSERT_TRUE(written.status) << written.status.error().message;
  EXPECT_EQ(written.object.path, "a b");
  EXPECT_EQ(written.object.size, 5U);
  EXPECT_EQ(written.object.version, "whole");
  EXPECT_THAT(Kinds(), ElementsAre("PUT"));
  const FakeRequest request = server_->Requests().front();
  EXPECT_EQ(request.path, "/bucket/run/a%20b");
  EXPECT_EQ(request.body, "hello");
  EXPECT_EQ(request.headers.at("x-amz-content-sha256"), Sha256Hex("hello"));
  EXPECT_FALSE(request.headers.contains("expect"));
}

TEST_F(S3UploadTest, ALargeObjectIsSentInParts) {
  Start();
  const std::string bytes = BytesOfUpload(2 * kPart + 100);
  const auto upload = Begin();
  const Written written = WriteAll(*upload, bytes);
  ASSERT_TRUE(written.status) << written.status.error().message;
  EXPECT_EQ(written.object.size, bytes.size());
  EXPECT_EQ(written.object.version, "made-2");
  EXPECT_TRUE(object_ == bytes);
  EXPECT_EQ(server_->Requests().back().body,
            "<CompleteMultipartUpload>"
            "<Part><PartNumber>1</PartNumber><ETag>\"1\"</ETag></Part>"
            "<Part><PartNumber>2</PartNumber><ETag>\"2\"</ETag></Part>"
            "<Part><PartNumber>3</PartNumber><ETag>\"3\"</ETag></Part>"
            "</CompleteMultipartUpload>");
  EXPECT_THAT(records_.All(), ElementsAre("run/a b\nid+/&1"));
  EXPECT_EQ(records_.Count(), 0U);
}

TEST_F(S3UploadTest, APartThatFailsIsSentAgain) {
  Start([](const FakeRequest& request, unsigned count) -> std::optional<FakeReply> {
    if (KindOf(request) != " part 2" || count > 6) return std::nullopt;
    if (count % 2 == 0) return FakeReply{"", FakeReply::Then::kClose};
    return RefusedUpload(503, "SlowDown");
  });
  const std::string bytes = BytesOfUpload(3 * kPart);
  const auto upload = Begin();
  const Written written = WriteAll(*upload, bytes);
  ASSERT_TRUE(written.status) << written.status.error().message;
  EXPECT_TRUE(object_ == bytes);
  // libcurl repeats by itself what a connection that it uses again has not taken.
  EXPECT_THAT(metrics_.Render(),
              ContainsRegex("sluice_origin_retries_total\\{operation=\"put_part\"\\} [3-6]"));
}

TEST_F(S3UploadTest, APartThatIsRefusedEndsTheUpload) {
  Start([](const FakeRequest& request, unsigned) -> std::optional<FakeReply> {
    if (KindOf(request) != " part 2") return std::nullopt;
    return RefusedUpload(403, "AccessDenied");
  });
  const auto upload = Begin();
  const Written written = WriteAll(*upload, BytesOfUpload(3 * kPart));
  ASSERT_FALSE(written.status);
  EXPECT_EQ(written.status.error().code, Code::kPermissionDenied);
  EXPECT_THAT(written.status.error().message, HasSubstr("s3:PutObject"));
  EXPECT_TRUE(Eventually([&] { return WasAborted() && records_.Count() == 0; }));
  EXPECT_EQ(object_, "");
}

TEST_F(S3UploadTest, WhatIsDroppedIsGivenUp) {
  Start();
  auto upload = Begin();
  ASSERT_TRUE(StartAppend(*upload, BytesOfUpload(kPart)).get().status);
  EXPECT_EQ(records_.Count(), 1U);
  upload.reset();
  EXPECT_TRUE(Eventually([&] { return WasAborted() && records_.Count() == 0; }));
}

TEST_F(S3UploadTest, AnErrorInTheBodyOfASuccessIsAnError) {
  Start([](const FakeRequest& request, unsigned count) -> std::optional<FakeReply> {
    if (request.method + KindOf(request) != "POST upload" || count > 2) return std::nullopt;
    return count == 1 ? RefusedUpload(200, "InternalError") : Answer(200, "<CompleteMultipartUpl");
  });
  const std::string bytes = BytesOfUpload(kPart + 1);
  const auto upload = Begin();
  const Written written = WriteAll(*upload, bytes);
  ASSERT_TRUE(written.status) << written.status.error().message;
  EXPECT_TRUE(object_ == bytes);
}

TEST_F(S3UploadTest, AnErrorInTheBodyOfASuccessFailsWhenItStays) {
  Start([](const FakeRequest& request, unsigned) -> std::optional<FakeReply> {
    if (request.method + KindOf(request) != "POST upload") return std::nullopt;
    return RefusedUpload(200, "InternalError");
  });
  const auto upload = Begin();
  const Written written = WriteAll(*upload, BytesOfUpload(kPart + 1));
  ASSERT_FALSE(written.status);
  EXPECT_THAT(written.status.error().message, HasSubstr("InternalError"));
  EXPECT_TRUE(Eventually([&] { return WasAborted(); }));
}

// The answer to the end is lost; repeated, it finds no upload.
class LostAnswerTest : public S3UploadTest {
 protected:
  Written WriteWithLostAnswer(bool made) {
    Start([this, made](const FakeRequest& request, unsigned count) -> std::optional<FakeReply> {
      if (request.method == "HEAD") {
        const std::string mark = made ? mark_ : "another";
        return Answer(200, "", {"ETag: \"made-2\"", "x-amz-meta-sluice-upload: " + mark});
      }
      if (request.method + KindOf(request) != "POST upload") return std::nullopt;
      if (count == 1) return FakeReply{"", FakeReply::Then::kClose};
      return RefusedUpload(404, "NoSuchUpload");
    });
    const auto upload = Begin();
    return WriteAll(*upload, BytesOfUpload(kPart + 1));
  }
};

TEST_F(LostAnswerTest, TheObjectTellsThatItWasMade) {
  const Written written = WriteWithLostAnswer(true);
  ASSERT_TRUE(written.status) << written.status.error().message;
  EXPECT_EQ(written.object.version, "made-2");
}

TEST_F(LostAnswerTest, AnObjectOfSomebodyElseDoesNot) {
  const Written written = WriteWithLostAnswer(false);
  ASSERT_FALSE(written.status);
  EXPECT_THAT(written.status.error().message, HasSubstr("NoSuchUpload"));
}

TEST_F(S3UploadTest, AFullStoreIsToldApart) {
  Start([](const FakeRequest&, unsigned) { return RefusedUpload(507, "XMinioStorageFull"); });
  const auto upload = Begin();
  const Written written = WriteAll(*upload, "hello");
  ASSERT_FALSE(written.status);
  EXPECT_EQ(written.shortage, Shortage::kSpace);
}

TEST_F(S3UploadTest, RenamingCopiesThisVersionAndDeletesTheOldName) {
  Start([](const FakeRequest& request, unsigned) -> std::optional<FakeReply> {
    if (request.method != "PUT") return std::nullopt;
    EXPECT_EQ(request.path, "/bucket/run/final");
    EXPECT_EQ(request.headers.at("x-amz-copy-source"), "/bucket/run/a%20b");
    EXPECT_EQ(request.headers.at("x-amz-copy-source-if-match"), "\"v1\"");
    return Answer(200, "<CopyObjectResult><ETag>\"v2\"</ETag></CopyObjectResult>");
  });
  OriginObject from;
  from.path = "a b";
  from.size = 7;
  from.version = "v1";
  const Written renamed = origin_->Writer()->Rename(from, "final");
  ASSERT_TRUE(renamed.status) << renamed.status.error().message;
  EXPECT_EQ(renamed.object.path, "final");
  EXPECT_EQ(renamed.object.version, "v2");
  EXPECT_THAT(Kinds(), ElementsAre("PUT", "DELETE"));
  EXPECT_EQ(server_->Requests().back().path, "/bucket/run/a%20b");
}

TEST_F(S3UploadTest, ACopyThatFailsDeletesNothing) {
  Start([](const FakeRequest& request, unsigned) -> std::optional<FakeReply> {
    if (request.method != "PUT") return std::nullopt;
    return RefusedUpload(412, "PreconditionFailed");
  });
  OriginObject from;
  from.path = "a";
  from.version = "v1";
  const Written renamed = origin_->Writer()->Rename(from, "b");
  ASSERT_FALSE(renamed.status);
  EXPECT_EQ(renamed.status.error().code, Code::kConflict);
  EXPECT_THAT(Kinds(), ElementsAre("PUT"));
}

TEST_F(S3UploadTest, WhatIsTooLargeForOneCopyIsCopiedInParts) {
  std::vector<std::string> ranges;
  Start([&](const FakeRequest& request, unsigned) -> std::optional<FakeReply> {
    if (request.method + KindOf(request) == "POST create") {
      return Answer(200,
                    "<InitiateMultipartUploadResult><UploadId>id</UploadId>"
                    "</InitiateMultipartUploadResult>");
    }
    if (request.method != "PUT") return std::nullopt;
    ranges.push_back(request.headers.at("x-amz-copy-source-range"));
    return Answer(200, "<CopyPartResult><ETag>\"part\"</ETag></CopyPartResult>");
  });
  OriginObject from;
  from.path = "a";
  from.size = (5ULL << 30) + 1;
  from.version = "v1";
  const Written renamed = origin_->Writer()->Rename(from, "b");
  ASSERT_TRUE(renamed.status) << renamed.status.error().message;
  EXPECT_EQ(renamed.object.version, "made-2");
  ASSERT_EQ(ranges.size(), 6U);
  EXPECT_EQ(ranges.front(), "bytes=0-1073741823");
  EXPECT_EQ(ranges.back(), "bytes=5368709120-5368709120");
  EXPECT_EQ(Kinds().back(), "DELETE");
}

TEST(PartBytesTest, TenThousandPartsHoldWhatAnObjectMayHave) {
  EXPECT_EQ(PartBytes(1, kLargest), 8ULL << 20);
  EXPECT_EQ(PartBytes(1'001, kLargest), 16ULL << 20);
  EXPECT_EQ(PartBytes(5'000, 64ULL << 20), 64ULL << 20);
  EXPECT_EQ(PartBytes(1, 1), 8ULL << 20);
  std::uint64_t all = 0;
  for (unsigned number = 1; number <= kMostParts; ++number) all += PartBytes(number, 5ULL << 30);
  EXPECT_GE(all, 5ULL << 40);
}

}  // namespace
}  // namespace sluice::origin
