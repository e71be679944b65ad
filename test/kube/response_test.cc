#include "response.h"

#include <gtest/gtest.h>

namespace sluice::kube {
namespace {

TEST(ResponseTest, StatusesMapToCodes) {
  struct Case {
    Verb verb;
    int status;
    Code code;
  };
  for (const Case& c :
       {Case{Verb::kGet, 400, Code::kInvalidArgument},
        Case{Verb::kApply, 422, Code::kInvalidArgument},
        Case{Verb::kGet, 401, Code::kPermissionDenied},
        Case{Verb::kGet, 403, Code::kPermissionDenied}, Case{Verb::kGet, 404, Code::kNotFound},
        Case{Verb::kCreate, 409, Code::kAlreadyExists}, Case{Verb::kReplace, 409, Code::kConflict},
        Case{Verb::kDelete, 409, Code::kConflict}, Case{Verb::kWatch, 410, Code::kConflict},
        Case{Verb::kGet, 429, Code::kUnavailable}, Case{Verb::kGet, 500, Code::kUnavailable},
        Case{Verb::kGet, 503, Code::kUnavailable}, Case{Verb::kGet, 504, Code::kDeadlineExceeded},
        Case{Verb::kGet, 302, Code::kInternal}, Case{Verb::kGet, 999, Code::kInternal}}) {
    EXPECT_EQ(CodeForStatus(c.verb, c.status), c.code) << c.status;
  }
}

TEST(ResponseTest, ErrorsSayWhatWasTriedAndWhatTheServerSaid) {
  const Error error = ErrorFromResponse(
      Verb::kGet, 404, R"({"kind":"Status","message":"datasets \"demo\" not found"})",
      "get datasets default/demo");
  EXPECT_EQ(error.message, "get datasets default/demo: datasets \"demo\" not found (HTTP 404)");
  // A proxy's page: short, and without its line breaks.
  const Error page = ErrorFromResponse(Verb::kGet, 502, "<html>\r\n" + std::string(9000, 'x'), "x");
  EXPECT_LT(page.message.size(), 300U);
  EXPECT_EQ(page.message.find('\n'), std::string::npos);
  EXPECT_EQ(ErrorFromResponse(Verb::kGet, 500, "", "x").message, "x: no message (HTTP 500)");
}

TEST(ResponseTest, RetryAfterIsBounded) {
  EXPECT_EQ(RetryAfter("3"), std::chrono::seconds(3));
  EXPECT_EQ(RetryAfter("86400"), std::chrono::seconds(60));
  for (const char* nonsense : {"", "-1", "soon", "3s", "99999999999999999999"}) {
    EXPECT_FALSE(RetryAfter(nonsense)) << nonsense;
  }
}

TEST(ResponseTest, BodiesThatAreNoObjectAreErrors) {
  for (const std::string& body :
       {std::string(), std::string("null"), std::string("[]"), std::string("\"x\""),
        std::string("{\"a\":"), std::string("<html>"), std::string("{\"a\":\"\xff\xfe\"}"),
        std::string(100'000, '['), std::string("{\"a\":") + std::string(100'000, '[')}) {
    const auto object = ParseObject(body, "get x");
    ASSERT_FALSE(object) << body.substr(0, 20);
    EXPECT_EQ(object.error().code, Code::kUnavailable);
  }
  // Brackets in strings do not count as depth.
  EXPECT_TRUE(ParseObject("{\"a\":\"" + std::string(1000, '[') + "\\\"[\"}", "get x"));
}

TEST(ResponseTest, ListsFillInKindsAndRefuseNonsense) {
  const auto page = ParseList(
      resources::kPod,
      R"({"metadata":{"resourceVersion":"7","continue":"c"},"items":[{"metadata":{"name":"a"}}]})",
      "list pods");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->list.resource_version, "7");
  EXPECT_EQ(page->continue_token, "c");
  EXPECT_EQ(page->list.items[0]["kind"], "Pod");
  EXPECT_TRUE(ParseList(resources::kPod, R"({"items":null})", "list pods")->list.items.empty());
  for (const char* body : {R"({"items":5})", R"({"items":[5]})", R"({"items":[{}]})",
                           R"({"items":[{"metadata":[]}]})", R"({"items":[null]})"}) {
    EXPECT_FALSE(ParseList(resources::kPod, body, "list pods")) << body;
  }
}

TEST(ResponseTest, WatchLines) {
  const auto added =
      ParseWatchLine(R"({"type":"ADDED","object":{"metadata":{"name":"a"}}})", "watch pods");
  ASSERT_TRUE(added);
  EXPECT_EQ(added->type, WatchEvent::Type::kAdded);
  const auto bookmark = ParseWatchLine(
      R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}})", "watch pods");
  ASSERT_TRUE(bookmark);
  EXPECT_EQ(bookmark->type, WatchEvent::Type::kBookmark);
  const auto expired = ParseWatchLine(
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}})",
      "watch pods");
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().code, Code::kConflict);
  for (const char* line : {"", "{", "5", R"({"type":"ADDED"})", R"({"type":"ADDED","object":[]})",
                           R"({"type":"ADDED","object":{}})",
                           R"({"type":"DANCED","object":{"metadata":{"name":"a"}}})",
                           R"({"type":5,"object":{"metadata":{"name":"a"}}})",
                           R"({"type":"ERROR","object":{"code":"x"}})"}) {
    const auto event = ParseWatchLine(line, "watch pods");
    ASSERT_FALSE(event) << line;
    EXPECT_EQ(event.error().code, Code::kUnavailable) << line;
  }
}

TEST(ResponseTest, LinesAreFramedWhateverThePiecesAndBounded) {
  LineBuffer buffer(10);
  std::vector<std::string> lines;
  const auto take = [&](std::string_view line) {
    lines.emplace_back(line);
    return Ok();
  };
  for (const char c : std::string("ab\n\ncd\nef")) {
    ASSERT_TRUE(buffer.Append(std::string_view(&c, 1), take));
  }
  EXPECT_EQ(lines, (std::vector<std::string>{"ab", "cd"}));
  ASSERT_TRUE(buffer.Append("g\nh\n", take));
  EXPECT_EQ(lines.back(), "h");
  EXPECT_EQ(lines[2], "efg");
  const Status large = buffer.Append("12345678901", take);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, Code::kInternal);
}

}  // namespace
}  // namespace sluice::kube
