#include "sluice/yaml/injection_files.h"

#include <gtest/gtest.h>

#include "sluice/core/json_access.h"
#include "sluice/platform/read_file.h"
#include "sluice/yaml/yaml.h"

namespace sluice::yaml {
namespace {

TEST(ServerlessTableTest, OfTheChartIsTheDefault) {
  auto text = platform::ReadFile(SLUICE_SOURCE_DIR "/manifests/sluice/values.yaml");
  ASSERT_TRUE(text) << text.error().message;
  auto values = Parse(*text);
  ASSERT_TRUE(values) << values.error().message;
  const Json& table = ChildOf(ChildOf(*values, "webhook"), "serverlessNodes");
  ASSERT_FALSE(table.empty());
  injection::Settings settings;
  auto applied = ApplyServerlessTable(Format(table), settings);
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(settings.serverless_nodes, injection::DefaultSettings().serverless_nodes);
}

TEST(ServerlessTableTest, ReplacesOnlyWhatItNames) {
  injection::Settings settings = injection::DefaultSettings();
  ASSERT_TRUE(ApplyServerlessTable("schedulerNames: [mine]\nnodeLabels: {}\n", settings));
  EXPECT_EQ(settings.serverless_nodes.scheduler_names, std::vector<std::string>{"mine"});
  EXPECT_TRUE(settings.serverless_nodes.node_labels.empty());
  EXPECT_FALSE(settings.serverless_nodes.taint_keys.empty());
}

TEST(ServerlessTableTest, RefusesWhatIsNoTable) {
  for (const char* text : {"schedulerNames: [7]", "taintKeys: one", "nodeLabels: [type]",
                           "nodeLabels: {type: virtual-kubelet}", "podLabels: {a: {b: c}}",
                           "nodeNamePrefixes: {a: b}", "- nodeLabels"}) {
    injection::Settings settings = injection::DefaultSettings();
    EXPECT_FALSE(ApplyServerlessTable(text, settings)) << text;
    EXPECT_EQ(settings.serverless_nodes, injection::DefaultSettings().serverless_nodes) << text;
  }
  injection::Settings settings = injection::DefaultSettings();
  EXPECT_TRUE(ApplyServerlessTable("taintKeys:\npodLabels: {a: }\n", settings));
  EXPECT_TRUE(settings.serverless_nodes.taint_keys.empty());
}

}  // namespace
}  // namespace sluice::yaml
