#include "sluice/core/runtime_plan.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/json_access.h"

#include "yaml_json.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const fs::path kGoldens = fs::path(SLUICE_SOURCE_DIR) / "test" / "golden" / "runtime_plan";

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<RuntimePlan> Plan(const Json& dataset, const Json& runtime) {
  const PlanSettings settings{.fuse_image = "sluice:golden"};
  return PlanRuntime(
      {.profile = NativeProfile(), .dataset = dataset, .runtime = runtime, .settings = settings});
}

// All objects, then the notes.
std::vector<Json> Documents(const RuntimePlan& plan) {
  std::vector<Json> documents;
  for (const PlannedObject& planned : plan.objects) documents.push_back(planned.object);
  documents.push_back({{"notes", plan.notes}});
  // Readable, and still compared whole.
  for (Json& document : documents) {
    if (!document.contains("data")) continue;
    for (Json& text : document["data"]) text = Json::parse(text.get<std::string>());
  }
  return documents;
}

class RuntimePlanGolden : public testing::TestWithParam<std::string> {};

TEST_P(RuntimePlanGolden, RendersTheRecordedObjects) {
  const fs::path directory = kGoldens / GetParam();
  const auto plan = Plan(test::LoadYaml(directory / "dataset.yaml").at(0),
                         test::LoadYaml(directory / "runtime.yaml").at(0));
  ASSERT_TRUE(plan) << plan.error().message;
  const std::vector<Json> documents = Documents(*plan);
  const fs::path expected = directory / "objects.yaml";
  if (std::getenv("UPDATE_GOLDEN") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
    std::ofstream(expected) << test::DumpYaml(documents);
    GTEST_SKIP() << "rewrote " << expected;
  }
  const std::vector<Json> recorded = test::LoadYaml(expected);
  ASSERT_EQ(documents.size(), recorded.size());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    EXPECT_EQ(documents[i], recorded[i])
        << "differs: " << Json::diff(recorded[i], documents[i]).dump(1);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, RuntimePlanGolden, testing::ValuesIn(Cases()),
                         [](const auto& name) { return name.param; });

TEST(RuntimePlanTest, EveryCaseIsWhole) {
  for (const std::string& name : Cases()) {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(kGoldens / name)) {
      files.push_back(entry.path().filename().string());
    }
    EXPECT_THAT(files,
                testing::UnorderedElementsAre("dataset.yaml", "runtime.yaml", "objects.yaml"))
        << name;
  }
}

Json Dataset(const char* spec) {
  return {{"metadata", {{"name", "demo"}, {"namespace", "ns"}, {"uid", "u"}}},
          {"spec", Json::parse(spec)}};
}
Json Runtime(const char* spec) {
  return {{"metadata", {{"name", "demo"}, {"namespace", "ns"}, {"uid", "r"}}},
          {"spec", Json::parse(spec)}};
}
constexpr const char* kMounts = R"({"mounts":[{"mountPoint":"s3://models"}]})";

struct BadRuntime {
  const char* name;
  const char* spec;
  const char* message;
};
class BadRuntimeTest : public testing::TestWithParam<BadRuntime> {};

TEST_P(BadRuntimeTest, IsRefusedWithFieldAndFix) {
  const auto plan = Plan(Dataset(kMounts), Runtime(GetParam().spec));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::kInvalidArgument);
  EXPECT_THAT(plan.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadRuntimeTest,
    testing::Values(
        BadRuntime{"MemoryWithoutQuota", R"({"tieredstore":{"levels":[{"mediumtype":"MEM"}]}})",
                   "spec.tieredstore.levels[0].quota: is missing"},
        BadRuntime{"NoQuantity",
                   R"({"tieredstore":{"levels":[{"mediumtype":"SSD","quota":"a lot"}]}})",
                   "spec.tieredstore.levels[0].quota: \"a lot\" is no quantity"},
        BadRuntime{"QuotaListWithAHole",
                   R"({"tieredstore":{"levels":[{"mediumtype":"SSD","quotaList":"1Gi,,1Gi"}]}})",
                   "spec.tieredstore.levels[0].quotaList"},
        BadRuntime{"LimitBelowTheCache",
                   R"({"tieredstore":{"levels":[{"mediumtype":"MEM","quota":"2Gi"}]},
                       "fuse":{"resources":{"limits":{"memory":"2Gi"}}}})",
                   "spec.fuse.resources.limits.memory: 2Gi is too little"},
        BadRuntime{"BudgetNoQuantity", R"({"fuse":{"options":{"memory-budget":"x"}}})",
                   "spec.fuse.options.memory-budget"},
        BadRuntime{"ModeNotOctal", R"({"fuse":{"options":{"file-mode":"rw"}}})",
                   "spec.fuse.options.file-mode: must be octal permission bits such as 0440"},
        BadRuntime{"PinOfEverything", R"({"fuse":{"options":{"pin":"a, /"}}})",
                   "spec.fuse.options.pin: \"/\" means the whole dataset"},
        BadRuntime{"ModeWithMoreThanPermissions",
                   R"({"fuse":{"options":{"directory-mode":"4755"}}})",
                   "spec.fuse.options.directory-mode"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(RuntimePlanTest, QuotaListIsSummed) {
  const auto plan = Plan(
      Dataset(kMounts),
      Runtime(
          R"({"tieredstore":{"levels":[{"mediumtype":"SSD","quotaList":"1Gi,2Gi","quota":"9Gi"}]}})"));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.cache.quota_bytes, 3ULL << 30);
}

TEST(RuntimePlanTest, PinnedPathsAreAListWithCommas) {
  const auto plan =
      Plan(Dataset(kMounts), Runtime(R"({"fuse":{"options":{"pin":"base, **/tokenizer.json,"}}})"));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.cache.pinned, (std::vector<std::string>{"base", "**/tokenizer.json"}));
}

TEST(RuntimePlanTest, FilesBelongToTheOwnerThatTheDatasetNames) {
  Json dataset = Dataset(kMounts);
  dataset["spec"]["owner"] = {{"uid", 1000}, {"gid", 2000}, {"user", "u"}, {"group", "g"}};
  const auto plan =
      Plan(dataset, Runtime(R"({"fuse":{"options":{"file-mode":"0440","directory-mode":"550"}}})"));
  ASSERT_TRUE(plan);
  const Appearance& appearance = plan->config.appearance;
  EXPECT_EQ(appearance.uid, 1000);
  EXPECT_EQ(appearance.gid, 2000);
  EXPECT_EQ(appearance.file_mode, 0440);
  EXPECT_EQ(appearance.directory_mode, 0550);
  dataset["spec"]["owner"]["gid"] = -1;
  const auto bad = Plan(dataset, Runtime("{}"));
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("spec.owner.gid: must be a whole number from 0"));
}

TEST(RuntimePlanTest, ASmallMemoryLimitShrinksTheBudget) {
  const auto plan =
      Plan(Dataset(kMounts), Runtime(R"({"fuse":{"resources":{"limits":{"memory":"192Mi"}}}})"));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->config.cache.memory_budget_bytes, 64ULL << 20);
}

TEST(RuntimePlanTest, WrongTypesNeverThrow) {
  const Json good_dataset = Dataset(kMounts);
  const Json good_runtime = Runtime(R"({"replicas":1,"tieredstore":{"levels":[{"mediumtype":"MEM",
      "quota":"1Gi"},{"mediumtype":"SSD","path":"/a","quotaList":"1Gi"}]},"worker":{"env":[],
      "nodeSelector":{"a":"b"},"tolerations":[],"options":{"threads":"1","tls":"true"},
      "resources":{"limits":{"cpu":"1","memory":"2Gi"}},"podMetadata":{"labels":{"a":"b"}}},"fuse":{"env":[],"nodeSelector":{"a":"b"},"resources":{"limits":{}},
      "podMetadata":{"labels":{"a":"b"}}},"volumes":[],"imagePullSecrets":[]})");
  // Each value replaced by each kind of wrong one.
  for (const Json* original : {&good_dataset, &good_runtime}) {
    const Json flat = original->flatten();
    for (const auto& [pointer, ignored] : flat.items()) {
      for (std::string at = pointer; !at.empty(); at = at.substr(0, at.rfind('/'))) {
        for (const Json& wrong : {Json(), Json(5), Json("x"), Json(true), Json::array({5}),
                                  Json::object({{"x", 5}}), Json::array({Json::array()})}) {
          Json changed = *original;
          changed[Json::json_pointer(at)] = wrong;
          const bool is_dataset = original == &good_dataset;
          EXPECT_NO_THROW(
              (void)Plan(is_dataset ? changed : good_dataset, is_dataset ? good_runtime : changed))
              << at << " = " << wrong.dump();
        }
      }
    }
  }
}

TEST(RuntimePlanTest, DnsLabels) {
  for (const char* good : {"a", "a1", "my-model"}) EXPECT_TRUE(IsDnsLabel(good)) << good;
  for (const std::string& bad :
       {std::string(), std::string("1a"), std::string("a-"), std::string("A"), std::string("a.b"),
        std::string("a_b"), std::string("-a"), std::string("a\n"), std::string(64, 'a')}) {
    EXPECT_FALSE(IsDnsLabel(bad)) << bad;
  }
}

}  // namespace
}  // namespace sluice
