#include "sluice/webhook/review.h"

#include <random>

#include <gtest/gtest.h>

#include "sluice/core/json_access.h"

#include "golden_case.h"
#include "https_client.h"
#include "review_fuzz.h"

namespace sluice::webhook {
namespace {

constexpr const char* kJson = "application/json";

struct BadReview {
  const char* name;
  std::string content_type;
  std::string body;
  int code;
  const char* message;  // a part of it
};

void PrintTo(const BadReview& c, std::ostream* out) { *out << c.name; }

class BadReviewTest : public testing::TestWithParam<BadReview> {};

TEST_P(BadReviewTest, IsAnsweredWithoutARequest) {
  const auto decoded = DecodeReview(GetParam().content_type, GetParam().body);
  ASSERT_TRUE(decoded.error);
  EXPECT_FALSE(decoded.request);
  EXPECT_FALSE(decoded.error->allowed);
  EXPECT_EQ(decoded.error->code, GetParam().code);
  EXPECT_NE(decoded.error->message.find(GetParam().message), std::string::npos)
      << decoded.error->message;
}

// A review of so many values in all, most of them empty.
std::string ReviewOfValues(std::size_t count) {
  std::string text = R"({"request": {"object": {"x": [)";
  for (std::size_t made = 4; made < count; ++made) text += made % 2 == 0 ? "[]," : "{ },";
  return text + R"("\\",[1,{"a": [ ]}]]}}})";
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadReviewTest,
    testing::Values(
        BadReview{"Empty", kJson, "", 400, "request body is empty"},
        BadReview{"NoContentType", "", "{}", 400, "contentType=, expected application/json"},
        BadReview{"OtherContentType", "text/plain", "{}", 400, "contentType=text/plain"},
        BadReview{"Truncated", kJson, R"({"kind":"AdmissionReview","request":{)", 400,
                  "json parse error: unexpected end of JSON input"},
        BadReview{"Garbage", kJson, "{]", 400, "offset 2"},
        BadReview{"Trailing", kJson, "{} {}", 400, "json parse error"},
        BadReview{"NotUtf8", kJson, "{\"kind\": \"\xff\xfe\"}", 400, "json parse error"},
        BadReview{"Nul", kJson, std::string("{\"a\":\0}", 7), 400, "json parse error"},
        BadReview{"Number", kJson, "7", 400, "must be an object"},
        BadReview{"KindIsANumber", kJson, R"({"kind": 7})", 400, "field kind must be a string"},
        BadReview{"APod", kJson, R"({"apiVersion": "v1", "kind": "Pod", "request": {}})", 400,
                  "no kind \"Pod\""},
        BadReview{"OtherVersion", kJson,
                  R"({"apiVersion": "admission.k8s.io/v2", "kind": "AdmissionReview"})", 400,
                  "admission.k8s.io/v2"},
        BadReview{"RequestIsAList", kJson, R"({"request": []})", 400, "must be an object"},
        BadReview{"UidIsAnObject", kJson, R"({"request": {"uid": {}}})", 400, "request.uid"},
        BadReview{"DryRunIsAString", kJson, R"({"request": {"dryRun": "yes"}})", 400, "dryRun"},
        BadReview{"DeepArrays", kJson, std::string(100000, '['), 400, "max depth"},
        BadReview{"DeepObjects", kJson,
                  [] {
                    std::string text;
                    for (int i = 0; i < 2000; ++i) text += R"({"a":)";
                    return text;
                  }(),
                  400, "max depth"},
        BadReview{"ManyValues", kJson, ReviewOfValues(kMaxValues), 413, "limit is 200000 values"},
        BadReview{"TooLarge", kJson, std::string(kMaxBodyBytes, ' '), 413, "7340032"},
        BadReview{"TooLargeComesFirst", "", std::string(kMaxBodyBytes, ' '), 413, "too large"}),
    [](const auto& param) { return param.param.name; });

TEST(ReviewTest, TakesWhatItNeeds) {
  const auto decoded = DecodeReview(kJson, R"({"apiVersion": "admission.k8s.io/v1beta1",
      "kind": "AdmissionReview", "request": {"uid": "u", "namespace": "ns", "name": null,
      "dryRun": true, "object": {"kind": "Pod"}}})");
  ASSERT_TRUE(decoded.request);
  EXPECT_EQ(decoded.request->api_version, "admission.k8s.io/v1beta1");
  EXPECT_EQ(decoded.request->uid, "u");
  EXPECT_EQ(decoded.request->ns, "ns");
  EXPECT_TRUE(decoded.request->dry_run);
  EXPECT_EQ(decoded.request->object["kind"], "Pod");
}

TEST(ReviewTest, AcceptsDeepButBoundedDocuments) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += '[';
  text += std::string(500, ']');
  EXPECT_TRUE(DecodeReview(kJson, R"({"request": {"object": {"x": )" + text + "}}}").request);
}

TEST(ReviewTest, AcceptsManyButBoundedValues) {
  // Five come at its end beside those counted.
  EXPECT_TRUE(DecodeReview(kJson, ReviewOfValues(kMaxValues - 5)).request);
  EXPECT_TRUE(DecodeReview(kJson, ReviewOfValues(kMaxValues - 4)).error);
  const std::string commas(kMaxValues, ',');
  EXPECT_TRUE(DecodeReview(kJson, R"({"request": {"uid": "\")" + commas + "\"}}").request);
}

TEST(ReviewTest, DoesNotCountBracketsInStrings) {
  const std::string brackets(5000, '[');
  EXPECT_TRUE(DecodeReview(kJson, R"({"request": {"uid": "\")" + brackets + "\"}}").request);
}

TEST(ReviewTest, GenericAnswerNamesNoVersion) {
  const Json review = Json::parse(EncodeReview(nullptr, BadRequest(400, "no")));
  EXPECT_FALSE(review.contains("apiVersion"));
  EXPECT_FALSE(review.contains("kind"));
  EXPECT_EQ(review["response"]["uid"], "");
  EXPECT_EQ(review["response"]["allowed"], false);
  EXPECT_EQ(review["response"]["status"], Json::parse(R"({"code": 400, "message": "no"})"));
}

TEST(ReviewTest, CarriesAuditAnnotations) {
  AdmissionRequest request;
  AdmissionAnswer answer;
  EXPECT_FALSE(
      Json::parse(EncodeReview(&request, answer))["response"].contains("auditAnnotations"));
  answer.audit_annotations["why"] = "no_dataset";
  EXPECT_EQ(Json::parse(EncodeReview(&request, answer))["response"]["auditAnnotations"],
            Json::parse(R"({"why": "no_dataset"})"));
}

TEST(ReviewTest, SendsAPatchOnlyWhenThereIsOne) {
  AdmissionRequest request;
  request.api_version = "admission.k8s.io/v1";
  request.kind = "AdmissionReview";
  request.uid = "u";
  AdmissionAnswer answer;
  answer.allowed = true;
  Json review = Json::parse(EncodeReview(&request, answer));
  EXPECT_FALSE(review["response"].contains("patch"));
  EXPECT_FALSE(review["response"].contains("patchType"));
  for (int padding = 0; padding < 3; ++padding) {
    answer.patch = Json::parse(R"([{"op": "remove", "path": "/)" +
                               std::string(static_cast<std::size_t>(padding), 'x') + R"("}])");
    review = Json::parse(EncodeReview(&request, answer));
    EXPECT_EQ(review["response"]["patchType"], "JSONPatch");
    EXPECT_EQ(test::PatchOf(review), answer.patch);
  }
}

// The same entry that a fuzzer uses, over mutations of every recorded request; the seed is fixed.
TEST(ReviewTest, SurvivesMutatedRequests) {
  std::mt19937 random(4711);
  std::size_t runs = 0;
  for (const std::string& name : test::GoldenCaseNames()) {
    const auto golden = test::LoadGoldenCase(name);
    const std::string sound =
        golden.review ? golden.review->dump() : StringOf(*golden.http, "body");
    for (int i = 0; i < 60; ++i) {
      std::string bytes = sound;
      for (unsigned n = 0; n <= random() % 4 && !bytes.empty(); ++n) {
        const std::size_t at = random() % bytes.size();
        switch (random() % 4) {
          case 0:
            bytes[at] = static_cast<char>(random());
            break;
          case 1:
            bytes.erase(at, random() % 40);
            break;
          case 2:
            bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 40));
            break;
          default:
            bytes.resize(at);
        }
      }
      test::FuzzReview(bytes);
      ++runs;
    }
  }
  EXPECT_GT(runs, 5000U);
}

}  // namespace
}  // namespace sluice::webhook
