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
  for (const char* text :
       {"schedulerNames: [7]", "taintKeys: one", "nodeLabels: [type]",
        "nodeLabels: {type: virtual-kubelet}", "podLabels: {a: {b: c}}", "namespaceLabels: [a]",
        "namespaceLabels: {a: b}", "nodeNamePrefixes: {a: b}", "- nodeLabels"}) {
    injection::Settings settings = injection::DefaultSettings();
    EXPECT_FALSE(ApplyServerlessTable(text, settings)) << text;
    EXPECT_EQ(settings.serverless_nodes, injection::DefaultSettings().serverless_nodes) << text;
  }
  injection::Settings settings = injection::DefaultSettings();
  EXPECT_TRUE(
      ApplyServerlessTable("taintKeys:\npodLabels: {a: }\nnamespaceLabels: {b: [c]}\n", settings));
  EXPECT_EQ(settings.serverless_nodes.namespace_labels,
            (std::map<std::string, std::vector<std::string>>{{"b", {"c"}}}));
  EXPECT_TRUE(settings.serverless_nodes.taint_keys.empty());
}

std::string WithArgs(const std::string& args) {
  return "pluginConfig: [{name: NodeAffinityWithCache, args: " + args + "}]";
}

struct BadProfile {
  const char* name;
  std::string text;
  const char* field;   // that the message names
  const char* wanted;  // what it says is wanted there
};

void PrintTo(const BadProfile& c, std::ostream* out) { *out << c.name; }

class BadProfileTest : public testing::TestWithParam<BadProfile> {};

TEST_P(BadProfileTest, IsRefusedByFieldAndNeed) {
  injection::Settings settings = injection::DefaultSettings();
  settings.serverful.with_dataset = {injection::Plugin::kFuseSidecar};
  const auto applied = ApplyPluginProfile(GetParam().text, settings);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, Code::kInvalidArgument);
  for (const char* part : {GetParam().field, GetParam().wanted}) {
    EXPECT_NE(applied.error().message.find(part), std::string::npos) << applied.error().message;
  }
  EXPECT_EQ(settings.serverful.with_dataset.size(), 1U) << "a bad profile changed something";
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadProfileTest,
    testing::Values(
        BadProfile{"Empty", "", "plugin profile", "a map"},
        BadProfile{"NoList", "plugins: {serverful: {withDataset: DatasetUsageInjector}}",
                   "plugins.serverful.withDataset", "a list of plugin names"},
        BadProfile{"ListOfNumbers", "plugins: {serverless: {withoutDataset: [5]}}",
                   "plugins.serverless.withoutDataset", "a list of plugin names"},
        BadProfile{"UnknownPlugin", "plugins: {serverless: {withDataset: [Nope]}}",
                   "plugins.serverless.withDataset", "unknown plugin 'Nope'"},
        BadProfile{"ModeIsNoMap", "plugins: {serverful: [DatasetUsageInjector]}",
                   "plugins.serverful", "a map"},
        BadProfile{"PluginsAreNoMap", "plugins: [serverful]", "plugins", "a map"},
        BadProfile{"ConfigIsNoList", "pluginConfig: {name: NodeAffinityWithCache}", "pluginConfig",
                   "a list"},
        BadProfile{"ConfigOfText", "pluginConfig: [NodeAffinityWithCache]", "pluginConfig",
                   "a list"},
        BadProfile{"NameIsNoText", "pluginConfig: [{name: 5}]", "pluginConfig: name",
                   "a plugin's name"},
        BadProfile{"ArgsAreAMap", WithArgs("{required: [fluid.io/node]}"),
                   "NodeAffinityWithCache: args", "YAML as text"},
        BadProfile{"ArgsAreNoMap", WithArgs("'5'"), "NodeAffinityWithCache: args", "a map"},
        BadProfile{"ArgsAreNoYaml", WithArgs("'['"), "NodeAffinityWithCache: args", ""},
        BadProfile{"PreferredIsNoList", WithArgs("'preferred: 5'"), "args.preferred", "a list"},
        BadProfile{"PreferredWithoutWeight", WithArgs("'preferred: [{name: fluid.io/node}]'"),
                   "args.preferred", "a weight from 1 to 100"},
        BadProfile{"RequiredIsNoList", WithArgs("'required: fluid.io/node'"), "args.required",
                   "a list of names"},
        BadProfile{"RequiredIsNoName", WithArgs("'required: [5]'"), "args.required",
                   "a list of names"}),
    [](const auto& param) { return param.param.name; });

TEST(PluginProfileTest, TakesWhatTheContractLeavesOpen) {
  injection::Settings settings = injection::DefaultSettings();
  const auto applied = ApplyPluginProfile(
      "x: 1\nplugins:\n  serverful: {withDataset: [FuseSidecar], withoutDataset: , y: {}}\n"
      "  serverless:\npluginConfig:\n- {name: Mine, args: \"[\"}\n"
      "- {name: NodeAffinityWithCache, args: \"required: [a]\"}\n"
      "- {name: NodeAffinityWithCache, args: \"required: [b]\\npreferred:\"}\n",
      settings);
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(settings.serverful.with_dataset,
            std::vector<injection::Plugin>{injection::Plugin::kFuseSidecar});
  EXPECT_TRUE(settings.serverless.with_dataset.empty());
  EXPECT_EQ(settings.locality.required, std::vector<std::string>{"b"});
  ASSERT_TRUE(ApplyPluginProfile("pluginConfig: [{name: NodeAffinityWithCache}]", settings));
  EXPECT_TRUE(settings.locality.required.empty());
}

}  // namespace
}  // namespace sluice::yaml
