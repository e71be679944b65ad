#include "sluice/core/placement.h"

#include <gtest/gtest.h>

namespace sluice::placement {
namespace {

Json PodRequiring(const std::string& terms) {
  return Json::parse(R"({"spec": {"affinity": {"nodeAffinity": {
      "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": )" +
                     terms + "}}}}}");
}

Json TermsOf(const Json& pod) {
  return ValueAt(pod,
                 "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/"
                 "nodeSelectorTerms");
}

Json On(const std::string& key) { return Term({Expression(key, "Exists", {})}); }

TEST(PlacementTest, TakesPreferencesOnlyIfAllAreThere) {
  Json pod;
  Prefer(pod, {Preference(1, On("a")), Preference(2, On("b")), Preference(1, On("a"))});
  const Json whole = pod;
  EXPECT_FALSE(TakePreferred(pod, {}));
  EXPECT_FALSE(TakePreferred(pod, {Preference(1, On("a")), Preference(1, On("b"))}));
  EXPECT_EQ(pod, whole);
  EXPECT_TRUE(TakePreferred(pod, {Preference(1, On("a")), Preference(2, On("b"))}));
  EXPECT_TRUE(MentionsLabel(pod, "a"));
  EXPECT_FALSE(MentionsLabel(pod, "b"));
  EXPECT_FALSE(TakePreferred(pod, {Preference(1, On("a")), Preference(1, On("a"))}));
  EXPECT_TRUE(TakePreferred(pod, {Preference(1, On("a"))}));
  EXPECT_FALSE(MentionsLabel(pod, "a"));
}

TEST(PlacementTest, RequiresWhatEveryAlternativeHas) {
  const std::vector<Json> a = {Expression("a", "Exists", {})};
  EXPECT_FALSE(Requires(Json::object(), a));
  EXPECT_FALSE(Requires(PodRequiring("[{}]"), a));
  Json pod = Json::object();
  Require(pod, {On("a")});
  EXPECT_TRUE(Requires(pod, a));
  pod = PodRequiring("[{}]");
  Require(pod, {On("b"), On("c")});
  EXPECT_FALSE(Requires(pod, a));
  Require(pod, {On("a")});
  EXPECT_TRUE(Requires(pod, a));
  RemoveRequired(pod, a);
  EXPECT_FALSE(MentionsLabel(pod, "a"));
  EXPECT_TRUE(MentionsLabel(pod, "b"));
  EXPECT_TRUE(MentionsLabel(pod, "c"));
}

struct MergeCase {
  const char* name;
  const char* existing;
  std::vector<Json> wanted;
  const char* merged;
};

void PrintTo(const MergeCase& c, std::ostream* out) { *out << c.name; }

class RequireTest : public testing::TestWithParam<MergeCase> {};

TEST_P(RequireTest, MergesTerms) {
  Json pod = PodRequiring(GetParam().existing);
  Require(pod, GetParam().wanted);
  EXPECT_EQ(TermsOf(pod), Json::parse(GetParam().merged)) << TermsOf(pod).dump();
  const Json once = pod;
  Require(pod, GetParam().wanted);
  EXPECT_EQ(pod, once) << "changed the second time";
}

INSTANTIATE_TEST_SUITE_P(
    Cases, RequireTest,
    testing::Values(
        MergeCase{"NoExisting",
                  "[]",
                  {On("a")},
                  R"([{"matchExpressions": [{"key": "a", "operator": "Exists"}]}])"},
        MergeCase{"OneTimesOne",
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"}]}])",
                  {On("a")},
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"},
                                            {"key": "a", "operator": "Exists"}]}])"},
        MergeCase{"TwoTimesTwo",
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"}]},
                      {"matchFields": [{"key": "metadata.name", "operator": "In",
                                        "values": ["n"]}]}])",
                  {On("a"), On("b")},
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"},
                                            {"key": "a", "operator": "Exists"}]},
                      {"matchExpressions": [{"key": "x", "operator": "Exists"},
                                            {"key": "b", "operator": "Exists"}]},
                      {"matchExpressions": [{"key": "a", "operator": "Exists"}],
                       "matchFields": [{"key": "metadata.name", "operator": "In",
                                        "values": ["n"]}]},
                      {"matchExpressions": [{"key": "b", "operator": "Exists"}],
                       "matchFields": [{"key": "metadata.name", "operator": "In",
                                        "values": ["n"]}]}])"},
        MergeCase{"EmptyExistingDropped",
                  R"([{}, {"matchExpressions": [{"key": "x", "operator": "Exists"}]}])",
                  {On("a")},
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"},
                                            {"key": "a", "operator": "Exists"}]}])"},
        MergeCase{"AllExistingEmpty",
                  R"([{}, {"matchExpressions": []}])",
                  {On("a")},
                  R"([{"matchExpressions": [{"key": "a", "operator": "Exists"}]}])"},
        MergeCase{"EmptyNewDropped",
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"}]}])",
                  {Term({}), On("a")},
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"},
                                            {"key": "a", "operator": "Exists"}]}])"},
        MergeCase{"AllNewEmpty",
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"}]}])",
                  {Term({})},
                  R"([{"matchExpressions": [{"key": "x", "operator": "Exists"}]}])"},
        MergeCase{"ThereAlready",
                  R"([{"matchExpressions": [{"key": "a", "operator": "Exists"},
                                            {"key": "x", "operator": "Exists"}]}])",
                  {On("a")},
                  R"([{"matchExpressions": [{"key": "a", "operator": "Exists"},
                                            {"key": "x", "operator": "Exists"}]}])"},
        MergeCase{"SomeThere",
                  R"([{"matchExpressions": [{"key": "a", "operator": "Exists"},
                                            {"key": "x", "operator": "Exists"}]}])",
                  {Term({Expression("a", "Exists", {}), Expression("b", "Exists", {})})},
                  R"([{"matchExpressions": [{"key": "a", "operator": "Exists"},
                                            {"key": "x", "operator": "Exists"},
                                            {"key": "a", "operator": "Exists"},
                                            {"key": "b", "operator": "Exists"}]}])"},
        MergeCase{"UnknownFieldsStay",
                  R"([{"zz": 1, "matchExpressions": [{"key": "x", "operator": "Exists"}]}])",
                  {On("a")},
                  R"([{"zz": 1, "matchExpressions": [{"key": "x", "operator": "Exists"},
                                                     {"key": "a", "operator": "Exists"}]}])"}),
    [](const auto& param) { return param.param.name; });

TEST(PlacementTest, DoesNothingWithoutTerms) {
  Json pod = Json::object();
  Require(pod, {});
  Require(pod, {Term({})});
  Prefer(pod, {});
  EXPECT_EQ(pod, Json::object());
}

TEST(PlacementTest, PrefersEachTermAsOftenAsGiven) {
  Json pod = Json::object();
  const std::vector<Json> wanted{Preference(50, On("zone")), Preference(50, On("zone")),
                                 Preference(20, On("region"))};
  Prefer(pod, wanted);
  const Json once = pod;
  EXPECT_EQ(ValueAt(pod,
                    "/spec/affinity/nodeAffinity/"
                    "preferredDuringSchedulingIgnoredDuringExecution")
                .size(),
            3U);
  Prefer(pod, wanted);
  EXPECT_EQ(pod, once);
}

TEST(PlacementTest, FindsALabelWhereverItIsMentioned) {
  const Json selector = Json::parse(R"({"spec": {"nodeSelector": {"zone": "a"}}})");
  EXPECT_TRUE(MentionsLabel(selector, "zone"));
  EXPECT_FALSE(MentionsLabel(selector, "region"));
  EXPECT_TRUE(MentionsLabel(
      PodRequiring(R"([{}, {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}])"),
      "zone"));
  EXPECT_FALSE(MentionsLabel(
      PodRequiring(R"([{"matchFields": [{"key": "zone", "operator": "Exists"}]}])"), "zone"));
  Json preferred = Json::object();
  Prefer(preferred, {Preference(1, On("zone"))});
  EXPECT_TRUE(MentionsLabel(preferred, "zone"));
}

}  // namespace
}  // namespace sluice::placement
