// The chart's ValidatingAdmissionPolicy in a real API server: what the node plugin's service
// account may do to nodes, beyond what RBAC can say.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <httplib.h>

#include "plugin_fixture.h"
#include "yaml_json.h"

namespace sluice::csi {
namespace {

// Applies the roles and the policy of the rendered chart.
void ApplyPolicy(Cluster& cluster, const std::filesystem::path& rendered) {
  const std::map<std::string, const char*> plurals = {
      {"ClusterRole", "clusterroles"},
      {"ClusterRoleBinding", "clusterrolebindings"},
      {"ValidatingAdmissionPolicy", "validatingadmissionpolicies"},
      {"ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"}};
  std::size_t applied = 0;
  for (const Json& document : test::LoadYaml(rendered)) {
    const std::string kind = StringAt(document, "/kind");
    if (!plurals.contains(kind)) continue;
    const std::string version = StringAt(document, "/apiVersion");
    const std::size_t slash = version.find('/');
    const ResourceType type{version.substr(0, slash), version.substr(slash + 1), plurals.at(kind),
                            kind, false};
    const auto done = cluster.Apply(type, document);
    ASSERT_TRUE(done) << kind << ": " << done.error().message;
    ++applied;
  }
  ASSERT_EQ(applied, plurals.size());
}

class OwnNodePolicyTest : public PluginTest {
 protected:
  void SetUp() override {
    PluginTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const char* cache = std::getenv("SLUICE_CACHE");
    const char* home = std::getenv("HOME");
    const std::filesystem::path helm =
        (cache != nullptr ? std::filesystem::path(cache)
                          : std::filesystem::path(home == nullptr ? "" : home) / ".cache/sluice") /
        "bin/helm";
    if (!std::filesystem::exists(helm)) GTEST_SKIP() << helm << ": run scripts/build-tools helm";
    const std::string command = fmt::format(
        "{} template sluice {}/manifests/sluice -n fluid-system --kube-version 1.34.0 "
        "-s templates/csi.yaml > {}/chart.yaml 2> {}/log",
        helm.string(), SLUICE_SOURCE_DIR, root_, root_);
    ASSERT_EQ(std::system(command.c_str()), 0);
    ApplyPolicy(*cluster_, root_ + "/chart.yaml");
  }

  // A merge patch of a node by the plugin that runs on `from`: "" when it is done, else why not.
  static std::string Patch(const std::string& node, const Json& patch,
                           const std::string& from = "node-1") {
    const kube::Config config = api_server_->TokenConfig();
    httplib::Client client(config.server);
    client.enable_server_certificate_verification(false);
    const httplib::Headers headers = {
        {"Authorization", "Bearer " + config.token.Reveal()},
        {"Impersonate-User", "system:serviceaccount:fluid-system:fluid-csi"},
        {"Impersonate-Extra-authentication.kubernetes.io%2Fnode-name", from}};
    const auto answer = client.Patch("/api/v1/nodes/" + node, headers, patch.dump(),
                                     "application/merge-patch+json");
    if (!answer) return "no answer";
    if (answer->status == 200) return "";
    return StringAt(Json::parse(answer->body, nullptr, false), "/message");
  }
  static std::string PatchMetadata(const Json& metadata) {
    return Patch("node-1", Json::object({{"metadata", metadata}}));
  }
};

TEST_F(OwnNodePolicyTest, PluginMayChangeTheFuseLabelsOfItsOwnNodeAndNothingElse) {
  ASSERT_TRUE(cluster_->MergePatch(resources::kNode, {"", "node-1"}, Json::parse(R"({"metadata": {
      "labels": {"kept": "yes", "fluid.io/other": "x", "fluid.io/f-ns-old": "true"},
      "annotations": {"kept": "yes"}}})")));
  ASSERT_TRUE(cluster_->Create(resources::kNode, Json::parse(R"({"apiVersion": "v1", "kind": "Node",
                                        "metadata": {"name": "node-2"}})")));
  // A new policy takes the API server a moment; till then each try is a change of its own.
  int tries = 0;
  const auto refused_by_now = [&] {
    return !PatchMetadata(Json::object({{"annotations", {{"try", std::to_string(++tries)}}}}))
                .empty();
  };
  ASSERT_TRUE(Eventually(refused_by_now, std::chrono::seconds(60)));

  const Json set = Json::parse(R"({"labels": {"fluid.io/f-ns-n": "true"}})");
  EXPECT_EQ(PatchMetadata(set), "");
  EXPECT_EQ(PatchMetadata(set), "") << "again";
  EXPECT_TRUE(NodeLabelled());
  EXPECT_EQ(PatchMetadata(Json::parse(R"({"labels": {"fluid.io/f-ns-n": null}})")), "");
  EXPECT_EQ(PatchMetadata(Json::parse(R"({"labels": {"fluid.io/f-ns-old": null}})")), "");

  for (const char* const labels :
       {R"({"kept": "no"})", R"({"kept": null})", R"({"new": "x"})", R"({"fluid.io/other": null})",
        R"({"fluid.io/new": "true"})", R"({"fluid.io/f-ns-n": "false"})"}) {
    const std::string refused = PatchMetadata(Json::object({{"labels", Json::parse(labels)}}));
    EXPECT_NE(refused.find("only labels that begin with fluid.io/f-"), std::string::npos)
        << labels << ": " << refused;
  }
  for (
      const char* const metadata :
      {R"({"annotations": {"new": "x"}})", R"({"annotations": {"kept": null}})",
       R"({"finalizers": ["example.com/hold"]})",
       R"({"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "u"}]})"}) {
    const std::string refused = PatchMetadata(Json::parse(metadata));
    EXPECT_NE(refused.find("nothing of its node but labels"), std::string::npos)
        << metadata << ": " << refused;
  }
  const std::string spec = Patch("node-1", Json::parse(R"({"spec": {"unschedulable": true}})"));
  EXPECT_NE(spec.find("nothing of its node but labels"), std::string::npos) << spec;
  const std::string other = Patch("node-2", Json::object({{"metadata", set}}));
  EXPECT_NE(other.find("only the node that it runs on"), std::string::npos) << other;
  const std::string unbound = Patch("node-1", Json::object({{"metadata", set}}), "");
  EXPECT_NE(unbound.find("only the node that it runs on"), std::string::npos) << unbound;
}

}  // namespace
}  // namespace sluice::csi
