#include "sluice/origin/sigv4.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::origin {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::chrono::system_clock::time_point At(std::int64_t seconds) {
  return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
}

std::string Find(const Headers& headers, const std::string& wanted) {
  for (const auto& [name, value] : headers) {
    if (name == wanted) return value;
  }
  return "";
}

// The examples of the S3 API reference, "Authenticating Requests: Using the Authorization Header":
// 2013-05-24T00:00:00Z, bucket examplebucket.
constexpr std::int64_t kS3Time = 1369353600;
Credentials S3Credentials() {
  return {"AKIAIOSFODNN7EXAMPLE", platform::Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), {}};
}

struct S3Case {
  std::string name;
  std::string method;
  std::string path;
  Query query;
  Headers headers;
  std::string payload_hash;
  std::string signature;
};
void PrintTo(const S3Case& c, std::ostream* out) { *out << c.name; }

class S3VectorTest : public ::testing::TestWithParam<S3Case> {};

TEST_P(S3VectorTest, MatchesThePublishedSignature) {
  const S3Case& c = GetParam();
  SigV4 signer("us-east-1");
  const Headers headers = signer.Sign({.method = c.method,
                                       .host = "examplebucket.s3.amazonaws.com",
                                       .path = c.path,
                                       .query = &c.query,
                                       .payload_hash = c.payload_hash,
                                       .headers = &c.headers},
                                      S3Credentials(), At(kS3Time));
  EXPECT_EQ(Find(headers, "X-Amz-Date"), "20130524T000000Z");
  EXPECT_EQ(Find(headers, "X-Amz-Content-Sha256"), c.payload_hash);
  EXPECT_THAT(Find(headers, "Authorization"), EndsWith(",Signature=" + c.signature));
}

const std::string kEmpty(kEmptyPayloadHash);

INSTANTIATE_TEST_SUITE_P(
    Published, S3VectorTest,
    ::testing::Values(S3Case{"GetObjectWithRange",
                             "GET",
                             "/test.txt",
                             {},
                             {{"Range", "bytes=0-9"}},
                             kEmpty,
                             "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
                      S3Case{"PutObject",
                             "PUT",
                             "/test%24file.text",
                             {},
                             {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                              {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                             "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                             "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
                      S3Case{"GetBucketLifecycle",
                             "GET",
                             "/",
                             {{"lifecycle", ""}},
                             {},
                             kEmpty,
                             "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
                      S3Case{"ListObjects",
                             "GET",
                             "/",
                             {{"prefix", "J"}, {"max-keys", "2"}},
                             {},
                             kEmpty,
                             "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"}),
    [](const auto& row) { return row.param.name; });

// From the general test suite: 2015-08-30T12:36:00Z, service "service".
constexpr std::int64_t kSuiteTime = 1440938160;
Credentials SuiteCredentials(std::string token = "") {
  return {"AKIDEXAMPLE", platform::Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
          platform::Secret(std::move(token))};
}

struct SuiteCase {
  std::string name;
  std::string method;
  Query query;
  Headers headers;
  std::string signature;
};
void PrintTo(const SuiteCase& c, std::ostream* out) { *out << c.name; }

class SuiteVectorTest : public ::testing::TestWithParam<SuiteCase> {};

TEST_P(SuiteVectorTest, MatchesThePublishedSignature) {
  const SuiteCase& c = GetParam();
  SigV4 signer("us-east-1", "service");
  const Headers headers = signer.Sign({.method = c.method,
                                       .host = "example.amazonaws.com",
                                       .path = "/",
                                       .query = &c.query,
                                       .payload_hash = kEmptyPayloadHash,
                                       .headers = &c.headers},
                                      SuiteCredentials(), At(kSuiteTime));
  EXPECT_THAT(Find(headers, "Authorization"), EndsWith(",Signature=" + c.signature));
}

INSTANTIATE_TEST_SUITE_P(
    Published, SuiteVectorTest,
    ::testing::Values(SuiteCase{"GetVanilla",
                                "GET",
                                {},
                                {},
                                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
                      SuiteCase{"PostVanilla",
                                "POST",
                                {},
                                {},
                                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
                      SuiteCase{"GetVanillaQueryOrderKeyCase",
                                "GET",
                                {{"Param2", "value2"}, {"Param1", "value1"}},
                                {},
                                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
                      SuiteCase{
                          "GetHeaderValueTrim",
                          "GET",
                          {},
                          {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}},
                          "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"}),
    [](const auto& row) { return row.param.name; });

TEST(SigV4Test, SignsTheSessionToken) {
  SigV4 signer("us-east-1");
  const Headers headers = signer.Sign({.host = "h", .path = "/", .payload_hash = kEmptyPayloadHash},
                                      SuiteCredentials("TOKEN"), At(kSuiteTime));
  EXPECT_EQ(Find(headers, "X-Amz-Security-Token"), "TOKEN");
  EXPECT_THAT(
      Find(headers, "Authorization"),
      HasSubstr("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
}

TEST(SigV4Test, SignsNothingForAnonymousAccess) {
  SigV4 signer("us-east-1");
  EXPECT_TRUE(signer.Sign({.host = "h", .path = "/", .payload_hash = kEmptyPayloadHash}, {}, At(0))
                  .empty());
}

TEST(SigV4Test, TheCachedKeyFollowsDayAndSecret) {
  const SignableRequest request{.host = "h", .path = "/", .payload_hash = kEmptyPayloadHash};
  const auto fresh = [&](const Credentials& credentials, std::int64_t time) {
    SigV4 signer("r");
    return signer.Sign(request, credentials, At(time));
  };
  SigV4 signer("r");
  Credentials other = SuiteCredentials();
  other.secret_access_key = platform::Secret("rotated");
  for (const auto& [credentials, time] : {std::pair{SuiteCredentials(), kSuiteTime},
                                          {SuiteCredentials(), kSuiteTime + 1},
                                          {SuiteCredentials(), kSuiteTime + 86400},
                                          {other, kSuiteTime + 86400}}) {
    EXPECT_EQ(signer.Sign(request, credentials, At(time)), fresh(credentials, time));
  }
}

TEST(UriEncodeTest, EncodesAllButUnreserved) {
  EXPECT_EQ(UriEncode("a/b c+d%e~f", true), "a/b%20c%2Bd%25e~f");
  EXPECT_EQ(UriEncode("a/b", false), "a%2Fb");
  EXPECT_EQ(UriEncode("\xc3\xbc\n", true), "%C3%BC%0A");
}

TEST(CanonicalQueryTest, SortsByEncodedNameThenValue) {
  EXPECT_EQ(CanonicalQuery({{"b", "2"}, {"a", "z"}, {"a", "y"}, {"list-type", "2"}, {"p", "a/ b"}}),
            "a=y&a=z&b=2&list-type=2&p=a%2F%20b");
}

}  // namespace
}  // namespace sluice::origin
