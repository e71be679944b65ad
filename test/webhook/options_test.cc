#include "sluice/webhook/options.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "sluice/yaml/injection_files.h"

namespace sluice::webhook {
namespace {

using injection::Plugin;

class OptionsTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "sluice-options-XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    profile_ = Write("plugins.profile", "plugins: {}\n");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  ParsedOptions Parse(std::vector<std::string> arguments) {
    return ParseOptions(std::move(arguments), [this](const std::string& name) {
      const auto found = environment_.find(name);
      return found == environment_.end() ? std::string() : found->second;
    });
  }
  ParsedOptions ParseWithProfile(std::vector<std::string> arguments) {
    arguments.push_back("--plugins-profile=" + profile_);
    return Parse(std::move(arguments));
  }

  std::string directory_;
  std::string profile_;
  std::map<std::string, std::string> environment_{{"MY_POD_NAMESPACE", "fluid-system"}};
};

TEST_F(OptionsTest, TakesFluidsCommandLine) {
  const auto parsed =
      ParseWithProfile({"start", "--webhook-port=9444", "--webhook-cert-dir", "/certs",
                        "--metrics-addr=:8081", "--pprof-addr=:6060", "--development=false",
                        "--full-go-profile=false", "--kube-api-qps=20", "--kube-api-burst=30"});
  ASSERT_TRUE(parsed.run) << parsed.text;
  EXPECT_EQ(parsed.options.port, 9444);
  EXPECT_EQ(parsed.options.cert_dir, "/certs");
  EXPECT_EQ(parsed.options.metrics_address, ":8081");
  EXPECT_EQ(parsed.options.ns, "fluid-system");
  EXPECT_FALSE(parsed.options.debug);
}

TEST_F(OptionsTest, ListensWhereItIsTold) {
  struct Case {
    const char* address;
    const char* host;
    int port;
  };
  for (const Case& c : {Case{"127.0.0.1:9443", "127.0.0.1", 9443}, Case{":0", "0.0.0.0", 0},
                        Case{"[::1]:65535", "::1", 65535}, Case{"localhost:1", "localhost", 1}}) {
    const auto parsed = ParseWithProfile({"--listen", c.address});
    ASSERT_TRUE(parsed.run) << parsed.text;
    EXPECT_EQ(parsed.options.bind_address, c.host);
    EXPECT_EQ(parsed.options.port, c.port);
  }
  for (const char* address : {"", "9443", "host:", "host:x", "host:65536", "host:-1", "host:1 "}) {
    const auto parsed = ParseWithProfile({"--listen", address});
    EXPECT_FALSE(parsed.run) << address;
    EXPECT_NE(parsed.exit_code, 0);
  }
  EXPECT_FALSE(ParseWithProfile({"--listen=:1", "--webhook-port=2"}).run);
}

TEST_F(OptionsTest, ServesMetricsFromAFileOnlyWhenAsked) {
  EXPECT_EQ(ParseWithProfile({"--state=f"}).options.metrics_address, "");
  EXPECT_EQ(ParseWithProfile({"--state=f", "--metrics-addr=:1"}).options.metrics_address, ":1");
  EXPECT_EQ(ParseWithProfile({}).options.metrics_address, ":8080");
}

TEST_F(OptionsTest, RefusesWhatCannotBeInjectedUnlessTold) {
  const auto policy_of = [](const ParsedOptions& parsed) {
    return parsed.options.settings.failure_policy;
  };
  EXPECT_EQ(policy_of(ParseWithProfile({})), injection::FailurePolicy::kFail);
  EXPECT_EQ(policy_of(ParseWithProfile({"--failure-policy=Fail"})),
            injection::FailurePolicy::kFail);
  EXPECT_EQ(policy_of(ParseWithProfile({"--failure-policy=Ignore"})),
            injection::FailurePolicy::kIgnore);
  EXPECT_FALSE(ParseWithProfile({"--failure-policy=ignore"}).run);
}

TEST_F(OptionsTest, NeedsNoVerb) { EXPECT_TRUE(ParseWithProfile({}).run); }

TEST_F(OptionsTest, RefusesWhatItDoesNotKnow) {
  for (const char* argument : {"--nope", "stop", "--webhook-port=x", "--webhook-port=70000"}) {
    const auto parsed = ParseWithProfile({argument});
    EXPECT_FALSE(parsed.run) << argument;
    EXPECT_NE(parsed.exit_code, 0) << argument;
    EXPECT_NE(parsed.text, "") << argument;
  }
}

TEST_F(OptionsTest, HelpIsNoError) {
  const auto parsed = Parse({"--help"});
  EXPECT_FALSE(parsed.run);
  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_NE(parsed.text.find("--state"), std::string::npos);
}

TEST_F(OptionsTest, NeedsItsNamespaceInACluster) {
  environment_.clear();
  const auto parsed = ParseWithProfile({});
  EXPECT_FALSE(parsed.run);
  EXPECT_NE(parsed.text.find("MY_POD_NAMESPACE"), std::string::npos);
  EXPECT_TRUE(Parse({"--state=x.json", "--self-signed"}).run);
}

TEST_F(OptionsTest, NeedsTheProfileInACluster) {
  const auto parsed = Parse({"--plugins-profile=" + directory_ + "/none"});
  EXPECT_FALSE(parsed.run);
  EXPECT_NE(parsed.text.find("none"), std::string::npos);
}

TEST_F(OptionsTest, ReadsTheEnvironment) {
  environment_["DISABLE_INJECTION"] = "T";
  environment_["FUSE_SIDECAR_INJECTION_MODE"] = "native-sidecar";
  environment_["KEY_SERVERLESS_PLATFORM"] = "corp/platform";
  environment_["FILE_PREFETCHER_IMAGE"] = "host:5000/p:1";
  environment_["SLUICE_AUTOMATIC_MODE"] = "sidecar";
  environment_["SLUICE_IMAGE"] = "host/sluice";
  const auto parsed = ParseWithProfile({});
  ASSERT_TRUE(parsed.run) << parsed.text;
  const injection::Settings& settings = parsed.options.settings;
  EXPECT_TRUE(settings.disabled);
  EXPECT_EQ(settings.placement, injection::SidecarPlacement::kNative);
  EXPECT_EQ(settings.serverless_platform_key, "corp/platform");
  EXPECT_EQ(settings.prefetcher_image, "host:5000/p:1");
  EXPECT_EQ(settings.sluice_image, "host/sluice");
  EXPECT_TRUE(settings.automatic_sidecar);
}

TEST_F(OptionsTest, UnknownPlacementIsTheDefault) {
  for (const char* mode : {"", "default", "legacy", "Native-Sidecar", "x"}) {
    environment_["FUSE_SIDECAR_INJECTION_MODE"] = mode;
    EXPECT_EQ(ParseWithProfile({}).options.settings.placement,
              injection::SidecarPlacement::kLegacy);
  }
}

TEST_F(OptionsTest, RefusesAPrefetcherImageWithoutTag) {
  for (const char* image : {"repo", "host:5000/repo"}) {
    environment_["FILE_PREFETCHER_IMAGE"] = image;
    EXPECT_FALSE(ParseWithProfile({}).run) << image;
  }
}

TEST_F(OptionsTest, ReadsTheServerlessTable) {
  const auto parsed =
      ParseWithProfile({"--serverless-table=" + Write("table.yaml",
                                                      "nodeLabels: {kind: [virtual, 'true']}\n"
                                                      "taintKeys: []\n")});
  ASSERT_TRUE(parsed.run) << parsed.text;
  const auto& table = parsed.options.settings.serverless_nodes;
  EXPECT_EQ(table.node_labels.at("kind"), (std::vector<std::string>{"virtual", "true"}));
  EXPECT_EQ(table.node_labels.size(), 1U);
  EXPECT_TRUE(table.taint_keys.empty());
  EXPECT_FALSE(table.node_name_prefixes.empty());  // not named, so as it was
}

TEST(ProfileTest, DefaultIsTheOneOfTheContract) {
  injection::Settings settings = injection::DefaultSettings();
  const injection::Settings before = settings;
  ASSERT_TRUE(yaml::ApplyPluginProfile(R"(
plugins:
  serverful:
    withDataset: [FilePrefetcher, RequireNodeWithFuse, NodeAffinityWithCache,
                  MountPropagationInjector, DatasetUsageInjector]
    withoutDataset: [PreferNodesWithoutCache]
  serverless:
    withDataset: [FilePrefetcher, FuseSidecar, DatasetUsageInjector]
    withoutDataset: []
unknown: {field: 1}
pluginConfig:
- {name: Other, args: "x"}
- name: NodeAffinityWithCache
  args: "preferred: [{name: old, weight: 1}]"
- name: NodeAffinityWithCache
  args: |
    preferred:
    - {name: fluid.io/node, weight: 100}
    - {name: topology.kubernetes.io/zone, weight: 50}
    - {name: topology.kubernetes.io/region, weight: 20}
    required: [fluid.io/node]
)",
                                       settings));
  EXPECT_EQ(settings.serverful.with_dataset, before.serverful.with_dataset);
  EXPECT_EQ(settings.serverful.without_dataset, before.serverful.without_dataset);
  EXPECT_EQ(settings.serverless.with_dataset, before.serverless.with_dataset);
  EXPECT_EQ(settings.locality.required, before.locality.required);
  ASSERT_EQ(settings.locality.preferred.size(), 3U);
  EXPECT_EQ(settings.locality.preferred[1].name, "topology.kubernetes.io/zone");
  EXPECT_EQ(settings.locality.preferred[1].weight, 50);
}

TEST(ProfileTest, RefusesWhatCannotBe) {
  for (const char* text :
       {"", "[]", "plugins: {serverful: {withDataset: [Nope]}}",
        "plugins: {serverful: {withDataset: [7]}}", "plugins: {a: [",
        "plugins: {}\npluginConfig: [{name: NodeAffinityWithCache, args: 'preferred: [{name: "
        "a}]'}]",
        "plugins: {}\npluginConfig: [{name: NodeAffinityWithCache, args: 'preferred: [{name: a, "
        "weight: 101}]'}]",
        "plugins: {}\npluginConfig: [{name: NodeAffinityWithCache, args: '{['}]"}) {
    injection::Settings settings = injection::DefaultSettings();
    auto applied = yaml::ApplyPluginProfile(text, settings);
    EXPECT_FALSE(applied) << text;
    EXPECT_EQ(settings.serverful.with_dataset.size(), 5U) << "half applied";
  }
}

}  // namespace
}  // namespace sluice::webhook
