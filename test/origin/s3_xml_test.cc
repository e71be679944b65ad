#include "s3_xml.h"

#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/timestamp.h"

#include "listing_fuzz.h"
#include "mutate_text.h"

namespace sluice::origin {
namespace {

using ::testing::HasSubstr;

const char* const kPage = R"(<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>models</Name><Prefix></Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys>
  <EncodingType>url</EncodingType>
  <IsTruncated>true</IsTruncated><NextContinuationToken>tok/en==</NextContinuationToken>
  <Contents><Key>a/b+c%2Bd%0A%C3%BC</Key><LastModified>2023-05-24T12:34:56.789Z</LastModified>
    <ETag>&quot;abc&quot;</ETag><Size>123</Size><StorageClass>STANDARD</StorageClass>
    <Owner><ID>x</ID><Key>not this one</Key></Owner></Contents>
  <Contents><Key>z</Key><Size>0</Size></Contents>
</ListBucketResult>)";

TEST(ListPageTest, ReadsKeysSizesAndToken) {
  const auto page = ParseListPage(kPage);
  ASSERT_TRUE(page) << page.error().message;
  ASSERT_EQ(page->keys.size(), 2U);
  EXPECT_EQ(page->keys[0].key, "a/b c+d\n\xc3\xbc");
  EXPECT_EQ(page->keys[0].etag, "\"abc\"");
  EXPECT_EQ(page->keys[0].size, 123U);
  EXPECT_EQ(page->keys[0].modified.time_since_epoch(), std::chrono::milliseconds(1684931696789));
  EXPECT_EQ(page->keys[1].key, "z");
  EXPECT_EQ(page->keys[1].etag, "");
  EXPECT_EQ(page->next_token, "tok/en==");
}

TEST(ListPageTest, DecodesOnlyWhenTheServerEncoded) {
  const auto page = ParseListPage(
      "<ListBucketResult><Contents><Key>a+b%20c</Key><Size>1</Size></Contents>"
      "<IsTruncated>false</IsTruncated></ListBucketResult>");
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(page->keys.at(0).key, "a+b%20c");
  EXPECT_FALSE(page->next_token);
}

struct BadPage {
  std::string name;
  std::string xml;
  std::string message;
};
void PrintTo(const BadPage& c, std::ostream* out) { *out << c.name; }

std::string Nested(int depth) {
  std::string xml;
  for (int i = 0; i < depth; ++i) xml += "<a>";
  return xml;
}

class BadPageTest : public ::testing::TestWithParam<BadPage> {};

TEST_P(BadPageTest, IsRefused) {
  const auto page = ParseListPage(GetParam().xml);
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, Code::kUnavailable);
  EXPECT_THAT(page.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadPageTest,
    ::testing::Values(
        BadPage{"Empty", "", "malformed"},
        BadPage{"Html", "<html><body>login</body></html>", "no listing"},
        BadPage{"CutOff", std::string(kPage).substr(0, 300), "malformed"},
        BadPage{"NoKey", "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
                "lacks its key or size"},
        BadPage{"NoSize", "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
                "lacks its key or size"},
        BadPage{"NegativeSize",
                "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents>"
                "</ListBucketResult>",
                "lacks its key or size"},
        BadPage{"HugeSize",
                "<ListBucketResult><Contents><Key>a</Key><Size>99999999999999999999</Size>"
                "</Contents></ListBucketResult>",
                "lacks its key or size"},
        BadPage{"NoToken", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                "no continuation token"},
        BadPage{"Deep", Nested(17), "nested too deeply"},
        BadPage{"LongValue",
                "<ListBucketResult><Contents><Key>" + std::string(20000, 'x') + "</Key>",
                "overlong value"},
        BadPage{"Entities",
                "<!DOCTYPE l [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>"
                "<ListBucketResult>&b;</ListBucketResult>",
                "document type"},
        BadPage{"ExternalEntity",
                "<!DOCTYPE l [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>"
                "<ListBucketResult><Contents><Key>&f;</Key></Contents></ListBucketResult>",
                "document type"},
        BadPage{"Nul", std::string("<ListBucketResult>\0</ListBucketResult>", 38), "malformed"}),
    [](const auto& row) { return row.param.name; });

TEST(S3ErrorTest, ReadsCodeAndRegion) {
  const S3Error error = ParseS3Error(
      "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>long"
      "</Message><Region>eu-west-1</Region></Error>");
  EXPECT_EQ(error.code, "AuthorizationHeaderMalformed");
  EXPECT_EQ(error.region, "eu-west-1");
}

TEST(S3ErrorTest, KeepsOnlyWhatACodeConsistsOf) {
  EXPECT_EQ(ParseS3Error("<Error><Code>No\nSuch &lt;b&gt;Key</Code></Error>").code, "NoSuchbKey");
  EXPECT_EQ(ParseS3Error("<Error><Code>" + std::string(500, 'x') + "</Code></Error>").code.size(),
            64U);
  EXPECT_EQ(ParseS3Error("gateway timeout").code, "");
}

TEST(IsoTimeTest, TakesTheLastTimeForThoseBehindIt) {
  EXPECT_EQ(ParseIsoTime("9999-12-31T23:59:59.999Z"),
            TimeFromUnix(INT64_MAX) + std::chrono::milliseconds(999));
}

TEST(IsoTimeTest, RefusesWhatIsNoTime) {
  EXPECT_TRUE(ParseIsoTime("2023-05-24T12:34:56Z"));
  for (const char* text : {"", "2023-05-24", "2023-13-24T12:34:56Z", "2023-05-24T12:34:56+01:00",
                           "yyyy-05-24T12:34:56Z", "2023-05-24T12:34:56.Z", "2023-05-24T-1:34:56Z",
                           "2023-02-30T12:34:56Z"}) {
    EXPECT_FALSE(ParseIsoTime(text)) << text;
  }
}

// Changes, drops, doubles and inserts bytes of the page; test/fuzz does so for longer.
TEST(ListingFuzzTest, SurvivesMutatedPages) {
  std::mt19937 random(20230524);
  const std::vector<std::string> seeds = {
      kPage, "<Error><Code>NoSuchKey</Code></Error>",
      "<ListBucketResult><Contents><Key>../../etc</Key><Size>1</Size></Contents>"
      "<Contents><Key>a%00b</Key><Size>1</Size></Contents><EncodingType>url</EncodingType>"
      "</ListBucketResult>",
      "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult>&a;</ListBucketResult>"};
  const std::vector<std::string> tokens = {"<Contents>", "</Contents>", "<Key>", "</Key>",
                                           "&lt;",       "%2e%2e%2f",   "%",     "]]>",
                                           "<![CDATA[",  "&#0;"};
  for (int round = 0; round < 20000; ++round) {
    const std::string& seed = seeds[random() % seeds.size()];
    test::FuzzListing(test::Mutated(seed, tokens, 8, random));
  }
}

}  // namespace
}  // namespace sluice::origin
