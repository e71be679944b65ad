#include "s3_response.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/timestamp.h"

namespace sluice::origin {
namespace {

using ::testing::HasSubstr;

struct StatusCase {
  std::string name;
  int status;
  std::string s3_code;
  Code code;
  Retry retry;
  std::string message;
};
void PrintTo(const StatusCase& c, std::ostream* out) { *out << c.name; }

class JudgeStatusTest : public ::testing::TestWithParam<StatusCase> {};

TEST_P(JudgeStatusTest, SaysWhatAndWhetherAgain) {
  const StatusCase& c = GetParam();
  const Verdict verdict = JudgeStatus(c.status, {c.s3_code, ""}, KeysOf::kSecret);
  EXPECT_EQ(verdict.error.code, c.code);
  EXPECT_EQ(verdict.retry, c.retry);
  EXPECT_THAT(verdict.error.message, HasSubstr(c.message));
  EXPECT_THAT(verdict.error.message, HasSubstr(c.s3_code));
}

INSTANTIATE_TEST_SUITE_P(
    Table, JudgeStatusTest,
    ::testing::Values(
        StatusCase{"NoBucket", 404, "NoSuchBucket", Code::kNotFound, Retry::kNo, "bucket"},
        StatusCase{"NoKey", 404, "NoSuchKey", Code::kNotFound, Retry::kNo, "no such object"},
        StatusCase{"PlainNotFound", 404, "", Code::kNotFound, Retry::kNo, "HTTP 404"},
        StatusCase{"WrongKey", 403, "InvalidAccessKeyId", Code::kPermissionDenied,
                   Retry::kNewCredentials, "accessKeyId"},
        StatusCase{"WrongSecret", 403, "SignatureDoesNotMatch", Code::kPermissionDenied,
                   Retry::kNewCredentials, "secretAccessKey"},
        StatusCase{"Expired", 400, "ExpiredToken", Code::kPermissionDenied, Retry::kNewCredentials,
                   "expired"},
        StatusCase{"Skew", 403, "RequestTimeTooSkewed", Code::kPermissionDenied, Retry::kNo,
                   "clock"},
        StatusCase{"WrongRegion", 400, "AuthorizationHeaderMalformed", Code::kInvalidArgument,
                   Retry::kNo, "\"region\""},
        StatusCase{"Redirect", 301, "PermanentRedirect", Code::kInvalidArgument, Retry::kNo,
                   "\"endpoint\""},
        StatusCase{"PlainRedirect", 307, "", Code::kInvalidArgument, Retry::kNo, "redirects"},
        StatusCase{"Unauthorized", 401, "", Code::kPermissionDenied, Retry::kNewCredentials,
                   "HTTP 401"},
        StatusCase{"Changed", 412, "PreconditionFailed", Code::kConflict, Retry::kNo, "changed"},
        StatusCase{"Shorter", 416, "InvalidRange", Code::kConflict, Retry::kNo, "shorter"},
        StatusCase{"SlowDown", 503, "SlowDown", Code::kUnavailable, Retry::kYes, "slow down"},
        StatusCase{"Failed", 500, "InternalError", Code::kUnavailable, Retry::kYes, "failed"},
        StatusCase{"BadGateway", 502, "", Code::kUnavailable, Retry::kYes, "HTTP 502"},
        StatusCase{"TooMany", 429, "", Code::kUnavailable, Retry::kYes, "later"},
        StatusCase{"NotImplemented", 501, "NotImplemented", Code::kUnavailable, Retry::kNo,
                   "lacks"},
        StatusCase{"Teapot", 418, "", Code::kUnavailable, Retry::kNo, "unexpected"}),
    [](const auto& row) { return row.param.name; });

TEST(JudgeStatusTest, BlamesNoSecretForTemporaryKeys) {
  for (const auto& [code, retry] : {std::pair{"AccessDenied", Retry::kNo},
                                    {"InvalidAccessKeyId", Retry::kNewCredentials},
                                    {"SignatureDoesNotMatch", Retry::kNewCredentials},
                                    {"ExpiredToken", Retry::kNewCredentials},
                                    {"InvalidToken", Retry::kNewCredentials},
                                    {"Other", Retry::kNewCredentials}}) {
    const Verdict verdict = JudgeStatus(403, {code, ""}, KeysOf::kIdentity);
    EXPECT_EQ(verdict.error.code, Code::kPermissionDenied) << code;
    EXPECT_EQ(verdict.retry, retry) << code;
    EXPECT_THAT(verdict.error.message, ::testing::Not(HasSubstr("Secret"))) << code;
    EXPECT_THAT(verdict.error.message, HasSubstr(code));
  }
}

TEST(JudgeStatusTest, NamesTheRegionThatTheServerNames) {
  EXPECT_THAT(JudgeStatus(400, {"AuthorizationHeaderMalformed", "eu-west-1"}, KeysOf::kSecret)
                  .error.message,
              HasSubstr("region \"eu-west-1\""));
}

OriginObject Object(std::uint64_t size, std::string version) {
  OriginObject object;
  object.path = "a";
  object.size = size;
  object.version = std::move(version);
  return object;
}

struct RangeCase {
  std::string name;
  HttpHead head;
  std::uint64_t offset;
  std::uint64_t length;
  std::string message;  // empty: good
  Code code = Code::kUnavailable;
};
void PrintTo(const RangeCase& c, std::ostream* out) { *out << c.name; }

HttpHead Head(int status, std::string etag, std::string range, std::uint64_t length) {
  HttpHead head;
  head.status = status;
  head.etag = std::move(etag);
  head.content_range = std::move(range);
  head.content_length = length;
  return head;
}

class CheckRangeTest : public ::testing::TestWithParam<RangeCase> {};

TEST_P(CheckRangeTest, AcceptsOnlyTheBytesAskedFor) {
  const RangeCase& c = GetParam();
  const auto verdict = CheckRange(c.head, Object(100, "v1"), c.offset, c.length);
  if (c.message.empty()) {
    EXPECT_FALSE(verdict) << verdict->error.message;
    return;
  }
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->error.code, c.code);
  EXPECT_THAT(verdict->error.message, HasSubstr(c.message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, CheckRangeTest,
    ::testing::Values(
        RangeCase{"Good", Head(206, "\"v1\"", "bytes 10-19/100", 10), 10, 10, ""},
        RangeCase{"UnknownTotal", Head(206, "\"v1\"", "bytes 10-19/*", 10), 10, 10, ""},
        RangeCase{"UnquotedTag", Head(206, "v1", "bytes 10-19/100", 10), 10, 10, ""},
        RangeCase{"WholeAs200", Head(200, "\"v1\"", "", 100), 0, 100, ""},
        RangeCase{"IgnoredRange", Head(200, "\"v1\"", "", 100), 10, 10, "ignored the Range"},
        RangeCase{"IgnoredRangeAtZero", Head(200, "\"v1\"", "", 100), 0, 10, "ignored the Range"},
        RangeCase{"WholeButLonger", Head(200, "\"v1\"", "", 101), 0, 100, "changed",
                  Code::kConflict},
        RangeCase{"OtherRange", Head(206, "\"v1\"", "bytes 0-9/100", 10), 10, 10,
                  "bytes 0-9 instead of 10-19"},
        RangeCase{"LongerRange", Head(206, "\"v1\"", "bytes 10-99/100", 90), 10, 10,
                  "bytes 10-99 instead"},
        RangeCase{"NoRange", Head(206, "\"v1\"", "", 10), 10, 10, "Content-Range is missing"},
        RangeCase{"BadRange", Head(206, "\"v1\"", "bytes ten-20/100", 10), 10, 10, "malformed"},
        RangeCase{"RangeWithTail", Head(206, "\"v1\"", "bytes 10-19/100x", 10), 10, 10,
                  "malformed"},
        RangeCase{"OtherTotal", Head(206, "\"v1\"", "bytes 10-19/200", 10), 10, 10, "changed",
                  Code::kConflict},
        RangeCase{"OtherTag", Head(206, "\"v2\"", "bytes 10-19/100", 10), 10, 10, "changed",
                  Code::kConflict},
        RangeCase{"NoTag", Head(206, "", "bytes 10-19/100", 10), 10, 10, "changed",
                  Code::kConflict},
        RangeCase{"WrongLength", Head(206, "\"v1\"", "bytes 10-19/100", 9), 10, 10,
                  "announced 9 bytes"}),
    [](const auto& row) { return row.param.name; });

TEST(VersionTest, IsTheStrongTagOrSizeAndTime) {
  const auto time = std::chrono::system_clock::from_time_t(1000);
  EXPECT_EQ(VersionOf("\"abc-2\"", 5, time), "abc-2");
  EXPECT_EQ(VersionOf("", 5, time), "mtime:5-1000");
  EXPECT_EQ(VersionOf("W/\"abc\"", 5, time), "mtime:5-1000");
  EXPECT_EQ(VersionOf("\"a\r\nX-Evil: 1\"", 5, time), "mtime:5-1000");
  EXPECT_EQ(VersionOf("\"mtime:1-1\"", 5, time), "mtime:5-1000") << "cannot be forged";
}

TEST(VersionTest, BecomesACondition) {
  EXPECT_EQ(ConditionFor(Object(1, "abc")),
            (std::pair<std::string, std::string>("If-Match", "\"abc\"")));
  OriginObject untagged = Object(1, "mtime:1-1369353600");
  untagged.modified = std::chrono::system_clock::from_time_t(1369353600);
  EXPECT_EQ(ConditionFor(untagged), (std::pair<std::string, std::string>(
                                        "If-Unmodified-Since", "Fri, 24 May 2013 00:00:00 GMT")));
  EXPECT_EQ(ParseHttpTime("Fri, 24 May 2013 00:00:00 GMT"), untagged.modified);
}

TEST(VersionTest, TakesTheLastTimeForThoseBehindIt) {
  EXPECT_EQ(ParseHttpTime("Fri, 31 Dec 9999 23:59:59 GMT"), TimeFromUnix(INT64_MAX));
}

TEST(VersionTest, WithoutATagTheTimeDecides) {
  const OriginObject object = Object(100, "mtime:100-1369353600");
  HttpHead head = Head(206, "", "bytes 0-9/100", 10);
  head.last_modified = "Fri, 24 May 2013 00:00:00 GMT";
  EXPECT_FALSE(CheckRange(head, object, 0, 10));
  head.last_modified = "Fri, 24 May 2013 00:00:01 GMT";
  ASSERT_TRUE(CheckRange(head, object, 0, 10));
  EXPECT_EQ(CheckRange(head, object, 0, 10)->error.code, Code::kConflict);
}

}  // namespace
}  // namespace sluice::origin
