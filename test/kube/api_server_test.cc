// The client against a real API server.
#include "api_server.h"

#include <fstream>

#include <gtest/gtest.h>

#include "sluice/kube/client.h"
#include "sluice/kube/exec.h"
#include "sluice/kube/informer.h"

#include "cluster_contract.h"

namespace sluice::test {
namespace {

// One server for the program: it takes seconds to start.
class Server : public testing::Environment {
 public:
  void SetUp() override {
    if (!ApiServer::Unavailable().empty()) return;
    auto started = ApiServer::Start();
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
    auto config = kube::LoadKubeconfig(server->Kubeconfig());
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->ns, "work");
    auto connected = kube::Connect(*config, {.page_size = 2}, metrics);
    ASSERT_TRUE(connected) << connected.error().message;
    cluster = std::move(*connected);
  }
  void TearDown() override {
    cluster.reset();
    server.reset();
  }

  platform::Metrics metrics;
  std::unique_ptr<ApiServer> server;
  std::unique_ptr<Cluster> cluster;
};

Server* const kServer =  // NOLINT: GoogleTest owns environments
    static_cast<Server*>(testing::AddGlobalTestEnvironment(new Server));

Cluster* SharedReal() { return kServer->cluster.get(); }

INSTANTIATE_TEST_SUITE_P(Real, ClusterContract, testing::Values(&SharedReal),
                         [](const auto&) { return std::string("ApiServer"); });

class ApiServerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!kServer->server) GTEST_SKIP() << ApiServer::Unavailable();
  }
  platform::Metrics metrics_;
};

TEST_F(ApiServerTest, AcceptsABearerTokenFromAFileThatIsReplaced) {
  kube::Config config = kServer->server->TokenConfig();
  const std::string path = testing::TempDir() + "/token";
  { std::ofstream(path) << config.token.Reveal() << "\n"; }
  config.token = platform::Secret();
  config.token_file = path;
  auto cluster = kube::Connect(config, {}, metrics_);
  ASSERT_TRUE(cluster);
  EXPECT_TRUE((*cluster)->Get(resources::kNamespace, {"", "default"}));
}

TEST_F(ApiServerTest, RefusedCredentialsAreAPermissionError) {
  kube::Config config = kServer->server->TokenConfig();
  config.token = platform::Secret("wrong");
  auto cluster = kube::Connect(config, {}, metrics_);
  ASSERT_TRUE(cluster);
  auto got = (*cluster)->Get(resources::kNamespace, {"", "default"});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kPermissionDenied);
}

// There is no kubelet here: the server's refusals show that it is reached, over TLS, as ourselves.
TEST_F(ApiServerTest, ExecIsRefusedByTheServersOwnWords) {
  auto exec = kube::ConnectExec(kServer->server->TokenConfig(), {}, metrics_);
  ASSERT_TRUE(exec);
  const ExecRequest request{
      .pod = {"default", "unscheduled"}, .container = "c", .command = {"true"}};
  auto outcome = (*exec)->Run(request);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kNotFound) << outcome.error().message;
  auto pod = kServer->cluster->Create(
      resources::kPod, {{"apiVersion", "v1"},
                        {"kind", "Pod"},
                        {"metadata", {{"name", "unscheduled"}, {"namespace", "default"}}},
                        {"spec",
                         {{"automountServiceAccountToken", false},
                          {"containers", Json::array({{{"name", "c"}, {"image", "i"}}})}}}});
  ASSERT_TRUE(pod) << pod.error().message;
  outcome = (*exec)->Run(request);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kInvalidArgument) << outcome.error().message;
  EXPECT_NE(outcome.error().message.find("does not have a host assigned"), std::string::npos)
      << outcome.error().message;

  kube::Config stranger = kServer->server->TokenConfig();
  stranger.token = platform::Secret("wrong");
  exec = kube::ConnectExec(stranger, {}, metrics_);
  ASSERT_TRUE(exec);
  outcome = (*exec)->Run(request);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kPermissionDenied) << outcome.error().message;

  stranger.ca_pem.clear();  // then the system's authorities
  exec = kube::ConnectExec(stranger, {}, metrics_);
  ASSERT_TRUE(exec);
  outcome = (*exec)->Run(request);
  ASSERT_FALSE(outcome);
  EXPECT_NE(outcome.error().message.find("certificate verify failed"), std::string::npos)
      << outcome.error().message;
}

TEST_F(ApiServerTest, AServerOfAnotherAuthorityIsNotTrusted) {
  kube::Config config = kServer->server->TokenConfig();
  config.ca_pem.clear();  // then the system's authorities
  auto cluster = kube::Connect(config, {.max_attempts = 1}, metrics_);
  ASSERT_TRUE(cluster);
  auto got = (*cluster)->Get(resources::kNamespace, {"", "default"});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kUnavailable);
  EXPECT_NE(got.error().message.find("certificate verify failed"), std::string::npos)
      << got.error().message;
}

TEST_F(ApiServerTest, AServerOfAnotherNameIsNotTrusted) {
  kube::Config config = kServer->server->TokenConfig();
  config.tls_server_name = "elsewhere.example";
  auto cluster = kube::Connect(config, {.max_attempts = 1}, metrics_);
  ASSERT_TRUE(cluster);
  EXPECT_FALSE((*cluster)->Get(resources::kNamespace, {"", "default"}));
}

TEST_F(ApiServerTest, InformersFollowARealServer) {
  kube::InformerSet informers(
      *kServer->cluster,
      {{.type = resources::kConfigMap, .filter = {.label_selector = "informed"}},
       {.type = {"data.example.org", "v1", "things", "Thing", true}, .optional = true}},
      {}, platform::Log("test"), metrics_);
  std::mutex mutex;
  std::condition_variable changed;
  int changes = 0;
  informers.OnChange([&](const kube::Change&) {
    std::lock_guard lock(mutex);
    ++changes;
    changed.notify_all();
  });
  informers.Start();
  ASSERT_TRUE(informers.WaitSynced(std::chrono::steady_clock::now() + std::chrono::seconds(20)))
      << informers.NotSyncedReason();
  Json object = {
      {"apiVersion", "v1"},
      {"kind", "ConfigMap"},
      {"metadata",
       {{"name", "informed"}, {"namespace", "default"}, {"labels", {{"informed", "1"}}}}}};
  ASSERT_TRUE(kServer->cluster->Apply(resources::kConfigMap, object));
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return changes >= 1; }));
  }
  auto found = informers.Find(resources::kConfigMap, {"default", "informed"});
  ASSERT_TRUE(found);
  EXPECT_FALSE((**found)["metadata"].contains("managedFields"));
}

}  // namespace
}  // namespace sluice::test
