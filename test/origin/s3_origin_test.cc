// The S3 adapter against a server that misbehaves on purpose.
#include "sluice/origin/s3_origin.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/origin/sigv4.h"

#include "fake_server.h"
#include "ranged_server.h"
#include "read_all.h"

namespace sluice::origin {
namespace {

using std::chrono::milliseconds;
using test::Answer;
using test::FakeReply;
using test::FakeRequest;
using test::FakeServer;
using test::kTag;
using test::Object;
using test::Partial;
using test::Pattern;
using test::Range;
using test::RangeOf;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;

OriginLimits QuickLimits() {
  OriginLimits limits;
  limits.max_connections = 4;
  limits.max_attempts = 4;
  limits.stall_timeout = milliseconds(300);
  limits.connect_timeout = milliseconds(500);
  limits.first_backoff = milliseconds(1);
  limits.max_backoff = milliseconds(4);
  limits.deadline = milliseconds(10'000);
  return limits;
}

FakeReply Refusal(int status, std::string_view code) {
  return Answer(status, fmt::format("<Error><Code>{}</Code></Error>", code));
}

class S3OriginTest : public ::testing::Test {
 protected:
  // An origin for s3://bkt/pre at a server with this behaviour.
  Origin& Open(FakeServer::Handler handler, OriginLimits limits = QuickLimits()) {
    server_ = std::make_unique<FakeServer>(std::move(handler));
    MountConfig mount;
    mount.mount_point = "s3://bkt/pre";
    mount.options = {
        {"endpoint", server_->Endpoint()}, {"accessKeyId", "AKID"}, {"secretAccessKey", "hunter2"}};
    return Open(mount, limits);
  }
  Origin& Open(const MountConfig& mount, const OriginLimits& limits = QuickLimits()) {
    auto origin = MakeOrigin(mount, limits, metrics_, log_);
    EXPECT_TRUE(origin) << origin.error().message;
    origin_ = std::move(*origin);
    return *origin_;
  }

  platform::Metrics metrics_;
  platform::Log log_{"test", platform::LogLevel::kError};
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(S3OriginTest, AsksForARangeOfAVersionAndSigns) {
  const std::string object = Pattern(1000);
  Origin& origin = Open([&](const FakeRequest& r) { return Partial(object, RangeOf(r)); });
  const ReadResult read = ReadRange(origin, Object("a b/c+d", 1000), 100, 200);
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, object.substr(100, 200));
  const FakeRequest request = server_->Requests().at(0);
  EXPECT_EQ(request.path, "/bkt/pre/a%20b/c%2Bd");
  EXPECT_EQ(request.headers.at("range"), "bytes=100-299");
  EXPECT_EQ(request.headers.at("if-match"), "\"v1\"");
  EXPECT_THAT(request.headers.at("authorization"), HasSubstr("Credential=AKID/"));
  EXPECT_THAT(metrics_.Render(),
              AllOf(HasSubstr("sluice_origin_requests_total{code=\"206\",operation=\"read\"} 1"),
                    HasSubstr("sluice_origin_read_bytes_total 200")));
}

TEST_F(S3OriginTest, KeepsConnectionsAlive) {
  const std::string object = Pattern(100);
  Origin& origin = Open([&](const FakeRequest& r) { return Partial(object, RangeOf(r)); });
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(ReadWhole(origin, Object("a", 100)).status);
  }
  EXPECT_EQ(server_->Connections(), 1U);
}

TEST_F(S3OriginTest, UsesNoMoreConnectionsThanAllowed) {
  const std::string object = Pattern(4096);
  Origin& origin = Open([&](const FakeRequest& r) { return Partial(object, RangeOf(r)); });
  std::vector<std::future<ReadResult>> reads;
  for (int i = 0; i < 64; ++i) reads.push_back(StartRead(origin, Object("a", 4096), 0, 4096));
  for (auto& read : reads) EXPECT_EQ(read.get().bytes, object);
  EXPECT_THAT(server_->Connections(), AllOf(Ge(1U), Le(4U)));
}

TEST_F(S3OriginTest, RefusesReadsBeyondTheQueue) {
  OriginLimits limits = QuickLimits();
  limits.max_connections = 1;
  limits.max_queued_reads = 2;
  Origin& origin = Open(
      [&](const FakeRequest&) {
        return FakeReply{"", FakeReply::Then::kStall};
      },
      limits);
  std::vector<std::future<ReadResult>> reads;
  for (int i = 0; i < 4; ++i) reads.push_back(StartRead(origin, Object("a", 10), 0, 10));
  const ReadResult refused = reads.back().get();
  ASSERT_FALSE(refused.status);
  EXPECT_THAT(refused.status.error().message, HasSubstr("waiting already"));
}

TEST_F(S3OriginTest, AnonymousRequestsAreNotSigned) {
  const std::string object = Pattern(10);
  server_ = std::make_unique<FakeServer>(
      [&](const FakeRequest& r) { return Partial(object, RangeOf(r)); });
  MountConfig mount;
  mount.mount_point = "s3://bkt";
  mount.options = {{"endpoint", server_->Endpoint()}};
  ASSERT_TRUE(ReadWhole(Open(mount), Object("a", 10)).status);
  EXPECT_EQ(server_->Requests().at(0).headers.count("authorization"), 0U);
}

// ---- answers that must not be delivered --------------------------------------------------------

struct Spoiled {
  std::string name;
  FakeReply reply;
  Code code;
  std::string message;
};
void PrintTo(const Spoiled& c, std::ostream* out) { *out << c.name; }

class SpoiledAnswerTest : public S3OriginTest, public ::testing::WithParamInterface<Spoiled> {};

TEST_P(SpoiledAnswerTest, IsAnErrorAndNotDelivered) {
  Origin& origin = Open([](const FakeRequest&) { return GetParam().reply; });
  const ReadResult read = ReadRange(origin, Object("k", 1000), 100, 10);
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.bytes, "");
  EXPECT_EQ(read.status.error().code, GetParam().code) << read.status.error().message;
  EXPECT_THAT(read.status.error().message,
              AllOf(HasSubstr("s3://bkt/pre/k at http://127.0.0.1:"), HasSubstr(GetParam().message),
                    Not(HasSubstr("hunter2")), Not(HasSubstr("AKID"))));
}

const std::string kTagLine(kTag);

INSTANTIATE_TEST_SUITE_P(
    Table, SpoiledAnswerTest,
    ::testing::Values(
        Spoiled{"IgnoredRange", Answer(200, Pattern(1000), {kTagLine}), Code::kUnavailable,
                "ignored the Range header"},
        Spoiled{"OtherRange", Answer(206, Pattern(10), {kTagLine, "Content-Range: bytes 0-9/1000"}),
                Code::kUnavailable, "bytes 0-9 instead of 100-109"},
        Spoiled{"OtherTag",
                Answer(206, Pattern(10), {"ETag: \"v2\"", "Content-Range: bytes 100-109/1000"}),
                Code::kConflict, "the object has changed"},
        Spoiled{"OtherSize",
                Answer(206, Pattern(10), {kTagLine, "Content-Range: bytes 100-109/2000"}),
                Code::kConflict, "the object has changed"},
        Spoiled{"PreconditionFailed", Refusal(412, "PreconditionFailed"), Code::kConflict,
                "the object has changed (PreconditionFailed, HTTP 412)"},
        Spoiled{"InvalidRange", Refusal(416, "InvalidRange"), Code::kConflict, "shorter"},
        Spoiled{"Redirect", Answer(307, "", {"Location: http://127.0.0.1:1/elsewhere"}),
                Code::kInvalidArgument, "which is not followed"},
        Spoiled{"NoSuchKey", Refusal(404, "NoSuchKey"), Code::kNotFound, "no such object"},
        Spoiled{"NoSuchBucket", Refusal(404, "NoSuchBucket"), Code::kNotFound,
                "the bucket does not exist"},
        Spoiled{"WrongSecret", Refusal(403, "SignatureDoesNotMatch"), Code::kPermissionDenied,
                "access key refused: check the Secret's accessKeyId/secretAccessKey "
                "(SignatureDoesNotMatch, HTTP 403)"},
        Spoiled{"Always500", Refusal(500, "InternalError"), Code::kUnavailable, "tried 4 times"},
        Spoiled{"NoHttp", FakeReply{"SSH-2.0-OpenSSH_9.2\r\n", FakeReply::Then::kClose},
                Code::kUnavailable, "HTTP"}),
    [](const auto& row) { return row.param.name; });

// ---- failures that pass ------------------------------------------------------------------------

TEST_F(S3OriginTest, RetriesWhatMayPass) {
  const std::string object = Pattern(100);
  std::atomic<int> calls = 0;
  Origin& origin = Open([&](const FakeRequest& r) {
    switch (calls++) {
      case 0:
        return Refusal(503, "SlowDown");
      case 1:
        return Refusal(500, "InternalError");
      case 2:
        return FakeReply{"", FakeReply::Then::kClose};
      default:
        return Partial(object, RangeOf(r));
    }
  });
  const ReadResult read = ReadWhole(origin, Object("a", 100));
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, object);
  EXPECT_THAT(metrics_.Render(), HasSubstr("sluice_origin_retries_total{operation=\"read\"} "));
}

TEST_F(S3OriginTest, GoesOnWhereAShortBodyEnded) {
  const std::string object = Pattern(100'000);
  Origin& origin = Open([&](const FakeRequest& r) {
    FakeReply reply = Partial(object, RangeOf(r));
    if (reply.bytes.size() > 20'000) {
      reply.bytes.resize(20'000);
      reply.then = FakeReply::Then::kClose;
    }
    return reply;
  });
  const ReadResult read = ReadWhole(origin, Object("a", object.size()));
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, object);
  const auto requests = server_->Requests();
  EXPECT_GT(requests.size(), 4U) << "more attempts than allowed without progress";
  EXPECT_EQ(RangeOf(requests.back()).last, object.size() - 1);
  EXPECT_GT(RangeOf(requests.at(1)).first, 19'000U);
}

TEST_F(S3OriginTest, CutsAStalledBodyAndGoesOn) {
  const std::string object = Pattern(1000);
  std::atomic<int> calls = 0;
  Origin& origin = Open([&](const FakeRequest& r) {
    FakeReply reply = Partial(object, RangeOf(r));
    if (calls++ == 0) {
      reply.bytes.resize(reply.bytes.size() - 500);
      reply.then = FakeReply::Then::kStall;
    }
    return reply;
  });
  const ReadResult read = ReadWhole(origin, Object("a", 1000));
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, object);
  EXPECT_EQ(server_->Requests().at(1).headers.at("range"), "bytes=500-999");
  EXPECT_THAT(metrics_.Render(), HasSubstr("code=\"stalled\""));
}

TEST_F(S3OriginTest, AChangeBetweenAttemptsIsAConflict) {
  const std::string object = Pattern(1000);
  std::atomic<int> calls = 0;
  Origin& origin = Open([&](const FakeRequest& r) {
    if (calls++ == 0) {
      FakeReply reply = Partial(object, RangeOf(r));
      reply.bytes.resize(reply.bytes.size() - 500);
      reply.then = FakeReply::Then::kClose;
      return reply;
    }
    return Answer(206, Pattern(500), {"ETag: \"v2\"", "Content-Range: bytes 500-999/1000"});
  });
  const ReadResult read = ReadWhole(origin, Object("a", 1000));
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kConflict);
  EXPECT_EQ(read.bytes, object.substr(0, 500));
}

TEST_F(S3OriginTest, TheDeadlineEndsEveryRead) {
  OriginLimits limits = QuickLimits();
  limits.deadline = milliseconds(700);
  limits.max_attempts = 1000;
  Origin& origin = Open(
      [&](const FakeRequest&) {
        return FakeReply{"", FakeReply::Then::kStall};
      },
      limits);
  const auto begin = std::chrono::steady_clock::now();
  const ReadResult read = ReadWhole(origin, Object("a", 10));
  ASSERT_FALSE(read.status);
  EXPECT_EQ(read.status.error().code, Code::kDeadlineExceeded) << read.status.error().message;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(S3OriginTest, ASinkCanCancel) {
  const std::string object = Pattern(100'000);
  Origin& origin = Open([&](const FakeRequest& r) { return Partial(object, RangeOf(r)); });
  std::promise<Status> done;
  int calls = 0;
  origin.ReadAsync(
      Object("a", object.size()), 0, object.size(),
      [&](std::span<const std::byte>) { return ++calls < 2; },
      [&](Status status) { done.set_value(std::move(status)); });
  const Status status = done.get_future().get();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("cancelled"));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(server_->Requests().size(), 1U);
}

TEST_F(S3OriginTest, DestructionEndsWhatIsUnderWay) {
  Origin& origin = Open([&](const FakeRequest&) { return FakeReply{"", FakeReply::Then::kStall}; });
  std::vector<std::future<ReadResult>> reads;
  for (int i = 0; i < 8; ++i) reads.push_back(StartRead(origin, Object("a", 10), 0, 10));
  origin_.reset();
  for (auto& read : reads) {
    const ReadResult result = read.get();
    ASSERT_FALSE(result.status);
    EXPECT_EQ(result.status.error().code, Code::kUnavailable);
  }
}

TEST_F(S3OriginTest, RefusesRangesOutsideTheObject) {
  Origin& origin = Open([](const FakeRequest&) { return Answer(500, ""); });
  EXPECT_TRUE(ReadRange(origin, Object("a", 10), 10, 0).status);
  for (const auto& [offset, length] :
       {std::pair<std::uint64_t, std::uint64_t>{0, 11}, {10, 1}, {11, 0}, {5, ~std::uint64_t{0}}}) {
    const ReadResult read = ReadRange(origin, Object("a", 10), offset, length);
    ASSERT_FALSE(read.status);
    EXPECT_EQ(read.status.error().code, Code::kInvalidArgument);
  }
  EXPECT_TRUE(server_->Requests().empty());
}

TEST_F(S3OriginTest, AnOriginThatIsDownIsUnavailable) {
  MountConfig mount;
  mount.mount_point = "s3://bkt";
  {
    FakeServer gone([](const FakeRequest&) { return Answer(200, ""); });
    mount.options = {{"endpoint", gone.Endpoint()}};
  }
  const auto listing = Open(mount).List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kUnavailable);
  EXPECT_THAT(listing.error().message, AllOf(HasSubstr("127.0.0.1"), HasSubstr("tried 4 times")));
}

TEST_F(S3OriginTest, AnUnknownHostNamesTheOption) {
  MountConfig mount;
  mount.mount_point = "s3://bkt";
  mount.options = {{"endpoint", "http://no-such-host.invalid"}, {"pathStyle", "true"}};
  const auto listing = Open(mount).List();
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, Code::kUnavailable);
  EXPECT_THAT(listing.error().message, HasSubstr("check option \"endpoint\""));
}

// ---- credentials -------------------------------------------------------------------------------

class RotationTest : public S3OriginTest {
 protected:
  RotationTest() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "sluice-rotation-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    Write("id", "OLD\n");
    Write("key", "old-secret\n");
  }
  ~RotationTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& name, const std::string& value) {
    std::ofstream(directory_ / name) << value;
  }
  MountConfig Mount() {
    MountConfig mount;
    mount.mount_point = "s3://bkt";
    mount.options = {{"endpoint", server_->Endpoint()}};
    mount.secret_files = {{"aws.accessKeyId", directory_ / "id"},
                          {"aws.secretKey", directory_ / "key"}};
    return mount;
  }
  std::filesystem::path directory_;
};

TEST_F(RotationTest, ReadsTheSecretAgainWhenRefused) {
  const std::string object = Pattern(10);
  server_ = std::make_unique<FakeServer>([&](const FakeRequest& r) {
    const bool fresh = r.headers.at("authorization").find("Credential=NEW/") != std::string::npos;
    return fresh ? Partial(object, RangeOf(r)) : Refusal(403, "InvalidAccessKeyId");
  });
  Origin& origin = Open(Mount());
  const ReadResult refused = ReadWhole(origin, Object("a", 10));
  ASSERT_FALSE(refused.status);
  EXPECT_EQ(refused.status.error().code, Code::kPermissionDenied);
  EXPECT_EQ(server_->Requests().size(), 1U) << "the same credentials are not tried twice";

  Write("id", "NEW\n");
  const ReadResult read = ReadWhole(origin, Object("a", 10));
  ASSERT_TRUE(read.status) << read.status.error().message;
  EXPECT_EQ(read.bytes, object);
}

TEST_F(RotationTest, ABadSecretFileIsNamed) {
  server_ = std::make_unique<FakeServer>([](const FakeRequest&) { return Answer(500, ""); });
  MountConfig mount = Mount();
  mount.secret_files["aws.secretKey"] = directory_ / "missing";
  auto origin = MakeOrigin(mount, QuickLimits(), metrics_, log_);
  ASSERT_FALSE(origin);
  EXPECT_EQ(origin.error().code, Code::kPermissionDenied);
  EXPECT_THAT(origin.error().message, AllOf(HasSubstr("aws.secretKey"), HasSubstr("missing")));

  Write("key", "line one\nline two\n");
  origin = MakeOrigin(Mount(), QuickLimits(), metrics_, log_);
  ASSERT_FALSE(origin);
  EXPECT_THAT(origin.error().message,
              AllOf(HasSubstr("aws.secretKey"), Not(HasSubstr("line one"))));
}

// ---- list --------------------------------------------------------------------------------------

TEST_F(S3OriginTest, TellsAMissingBucketFromAMissingObject) {
  for (const auto& [code, words] : {std::pair{"NoSuchBucket", "the bucket does not exist"},
                                    std::pair{"NoSuchKey", "no such object"}}) {
    Origin& origin = Open([code = code](const FakeRequest&) { return Refusal(404, code); });
    const ReadResult read = ReadWhole(origin, Object("a", 10));
    ASSERT_FALSE(read.status);
    EXPECT_EQ(read.status.error().code, Code::kNotFound);
    EXPECT_THAT(read.status.error().message, HasSubstr(words));
  }
}

std::string PageOf(const std::vector<std::string>& keys, const std::string& next = "") {
  std::string xml = "<ListBucketResult><EncodingType>url</EncodingType>";
  for (const std::string& key : keys) {
    xml += fmt::format(
        "<Contents><Key>{}</Key><Size>7</Size><ETag>&quot;v1&quot;</ETag>"
        "<LastModified>2023-05-24T00:00:00.000Z</LastModified></Contents>",
        UriEncode(key, true));
  }
  if (!next.empty()) {
    xml += "<IsTruncated>true</IsTruncated><NextContinuationToken>" + next +
           "</NextContinuationToken>";
  }
  return xml + "</ListBucketResult>";
}

TEST_F(S3OriginTest, ListsPageByPage) {
  Origin& origin = Open([&](const FakeRequest& r) {
    EXPECT_EQ(r.path, "/bkt/");
    EXPECT_EQ(r.query.at("prefix"), "pre/");
    EXPECT_EQ(r.query.at("list-type"), "2");
    if (r.query.count("continuation-token") == 0) {
      return Answer(200, PageOf({"pre/b", "pre/c"}, "t/1+="));
    }
    EXPECT_EQ(r.query.at("continuation-token"), "t/1+=");
    return Answer(200, PageOf({"pre/a"}));
  });
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  ASSERT_EQ(listing->objects.size(), 3U);
  EXPECT_EQ(listing->objects[0].path, "a");
  EXPECT_EQ(listing->objects[2].path, "c");
  EXPECT_EQ(listing->objects[0].version, "v1");
  EXPECT_EQ(listing->skipped, 0U);
}

TEST_F(S3OriginTest, OddNamesAreKeptAndImpossibleOnesCounted) {
  const std::string nul("pre/a\0b", 7);
  Origin& origin = Open([&](const FakeRequest&) {
    return Answer(200, PageOf({"pre/", "pre/dir/", "pre/new\nline", "pre/\x01\x7f", "pre/a b+c%2F",
                               "pre/\xc3\xbc", "pre/../up", "pre/./x", "pre//x", nul,
                               "pre/" + std::string(300, 'x'), "pre/bad//", "pre/f", "pre/f/g"}));
  });
  const auto listing = origin.List();
  ASSERT_TRUE(listing) << listing.error().message;
  std::vector<std::string> paths;
  for (const auto& object : listing->objects) paths.push_back(object.path);
  EXPECT_THAT(paths, ElementsAre("\x01\x7f", "a b+c%2F", "f/g", "new\nline", "\xc3\xbc"));
  EXPECT_EQ(listing->skipped, 7U);
}

TEST_F(S3OriginTest, AListingThatDoesNotEndIsAnError) {
  Origin& same = Open([&](const FakeRequest&) { return Answer(200, PageOf({"pre/a"}, "t")); });
  EXPECT_THAT(same.List().error().message, HasSubstr("does not end"));

  std::atomic<int> pages = 0;
  Origin& empty = Open(
      [&](const FakeRequest&) { return Answer(200, PageOf({}, fmt::format("t{}", pages++))); });
  EXPECT_THAT(empty.List().error().message, HasSubstr("does not end"));

  OriginLimits limits = QuickLimits();
  limits.max_listing_bytes = [] { return 512ULL << 10; };
  Origin& growing = Open(
      [&](const FakeRequest&) {
        const int page = pages++;
        return Answer(200, PageOf({fmt::format("pre/{}", page)}, fmt::format("t{}", page)));
      },
      limits);
  EXPECT_THAT(growing.List().error().message,
              AllOf(HasSubstr("s3://bkt/pre"), HasSubstr("more than the 0.5 MiB of memory"),
                    HasSubstr("raise the memory budget")));
}

TEST_F(S3OriginTest, IdentityTellsEndpointsApartAndHoldsNoSecret) {
  const auto identity = [&](const std::string& mount_point, const std::string& endpoint,
                            const std::string& key) {
    MountConfig mount;
    mount.mount_point = mount_point;
    mount.options = {{"endpoint", endpoint}, {"accessKeyId", key}, {"secretAccessKey", "hunter2"}};
    return Open(mount).Identity();
  };
  const std::string one = identity("s3://bkt/pre", "http://one:9000", "AKID");
  EXPECT_EQ(one, identity("s3://bkt/pre", "http://one:9000", "OTHER")) << "the same objects";
  EXPECT_NE(one, identity("s3://bkt/pre", "http://two:9000", "AKID"));
  EXPECT_NE(one, identity("s3://bkt/pre", "http://one:9001", "AKID"));
  EXPECT_NE(one, identity("s3://bkt/other", "http://one:9000", "AKID"));
  EXPECT_NE(one, identity("s3://other/pre", "http://one:9000", "AKID"));
  EXPECT_THAT(one, Not(AnyOf(HasSubstr("AKID"), HasSubstr("hunter2"))));
}

TEST_F(S3OriginTest, AListingOfOtherKeysIsAnError) {
  Origin& origin = Open([](const FakeRequest&) { return Answer(200, PageOf({"other/a"})); });
  const auto listing = origin.List();
  ASSERT_FALSE(listing);
  EXPECT_THAT(listing.error().message, HasSubstr("outside the prefix"));
}

TEST_F(S3OriginTest, AnEndlessPageIsCut) {
  Origin& origin =
      Open([](const FakeRequest&) { return Answer(200, std::string(17U << 20, ' ')); });
  const auto listing = origin.List();
  ASSERT_FALSE(listing);
}

TEST_F(S3OriginTest, DescribesItselfWithoutCredentials) {
  Origin& origin = Open([](const FakeRequest&) { return Answer(500, ""); });
  EXPECT_EQ(origin.Describe(), "s3://bkt/pre/");
}

TEST(MakeOriginTest, RefusesWhatItCannotOpen) {
  platform::Metrics metrics;
  const platform::Log log("test", platform::LogLevel::kError);
  for (const auto& [point, words] :
       {std::pair{"pvc://claim/sub", "claim"}, std::pair{"hdfs://nn/x", "hdfs"},
        std::pair{"oss://bkt", "fs.oss.endpoint"}}) {
    MountConfig mount;
    mount.mount_point = point;
    const auto origin = MakeOrigin(mount, {}, metrics, log);
    ASSERT_FALSE(origin);
    EXPECT_EQ(origin.error().code, Code::kInvalidArgument);
    EXPECT_THAT(origin.error().message, HasSubstr(words));
  }
}

}  // namespace
}  // namespace sluice::origin
