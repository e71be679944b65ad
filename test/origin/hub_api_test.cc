#include "hub_api.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/timestamp.h"

namespace sluice::origin {
namespace {

using ::testing::HasSubstr;

TEST(HubApiTest, ReadsTheCommitOfARevision) {
  const auto revision = ParseHubRevision(
      R"({"id":"o/n","sha":"0123456789abcdef0123456789abcdef01234567","siblings":[{"rfilename":"a"}],
"lastModified":"2024-02-19T11:01:02.000Z","private":false})");
  ASSERT_TRUE(revision) << revision.error().message;
  EXPECT_EQ(revision->commit, "0123456789abcdef0123456789abcdef01234567");
  EXPECT_EQ(FormatTime(revision->modified), "2024-02-19T11:01:02Z");
  for (const char* text : {"", "[]", "{}", R"({"sha":"main"})", R"({"sha":7})",
                           R"({"sha":"../../x"})", R"({"sha":"0123456789abcdef)"}) {
    EXPECT_FALSE(ParseHubRevision(text)) << text;
  }
}

TEST(HubApiTest, ReadsATree) {
  const auto objects = ParseHubTree(R"([
{"type":"directory","oid":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":0,"path":"onnx"},
{"type":"file","oid":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","size":665,"path":"config.json"},
{"type":"file","oid":"cccccccccccccccccccccccccccccccccccccccc","size":5000000000,
 "lfs":{"oid":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","size":5000000000,
 "pointerSize":135},"path":"onnx/model.safetensors","xetHash":"x"}])");
  ASSERT_TRUE(objects) << objects.error().message;
  ASSERT_EQ(objects->size(), 2U);
  EXPECT_EQ(objects->at(0).path, "config.json");
  EXPECT_EQ(objects->at(0).size, 665U);
  EXPECT_EQ(objects->at(0).version, std::string(40, 'b'));
  EXPECT_EQ(objects->at(1).size, 5'000'000'000U);
  EXPECT_EQ(objects->at(1).version, std::string(64, 'd'));
}

TEST(HubApiTest, RefusesATreeThatIsNone) {
  for (const char* text :
       {"", "{}", R"([{"type":"file"}])", R"([{"type":"file","path":"a","size":1}])",
        R"([{"type":"file","path":"a","oid":"bbbbbbbb"}])",
        R"([{"type":"file","path":"a","oid":"bbbbbbbb","size":-1}])",
        R"([{"type":"file","path":"a","oid":"\"x","size":1}])"}) {
    const auto objects = ParseHubTree(text);
    ASSERT_FALSE(objects) << text;
    EXPECT_EQ(objects.error().code, Code::kUnavailable);
  }
}

TEST(HubApiTest, FindsTheNextPage) {
  EXPECT_EQ(NextPageQuery("<https://hub/api/models/o/n/tree/main?recursive=true&cursor=ZXlK%3D>; "
                          "rel=\"next\"")
                .value(),
            "recursive=true&cursor=ZXlK%3D");
  EXPECT_EQ(NextPageQuery("<http://h/?a>; rel=\"prev\", <http://h/?b#c>; rel=\"next\"").value(),
            "b");
  for (const char* link : {"", "<http://h/?a>; rel=\"prev\"", "<", ">"}) {
    EXPECT_EQ(NextPageQuery(link).value(), std::nullopt) << link;
  }
}

TEST(HubApiTest, TakesNoMalformedLinkForTheLastPage) {
  for (const std::string& url :
       {std::string("http://h/"), std::string("http://h/?a b"), std::string("http://h/?a\\b"),
        std::string("http://h/?a\"b"), "http://h/?" + std::string(8193, 'a')}) {
    const auto query = NextPageQuery("<" + url + ">; rel=\"next\"");
    ASSERT_FALSE(query) << url;
    EXPECT_EQ(query.error().code, Code::kUnavailable);
  }
}

}  // namespace
}  // namespace sluice::origin
