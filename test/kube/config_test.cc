#include "sluice/kube/config.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "sluice/kube/client.h"

namespace sluice::kube {
namespace {

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    std::string pattern = testing::TempDir() + "sluice-config-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~ConfigTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  std::string Write(const std::string& name, const std::string& text) {
    const auto path = directory_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  std::filesystem::path directory_;
};

constexpr const char* kGood = R"(
current-context: here
clusters:
- name: other
  cluster: {server: "https://other:1"}
- name: mine
  cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: Q0E=, tls-server-name: api}
users:
- name: me
  user: {client-certificate: me.crt, client-key-data: S0VZIQ==}
- name: bearer
  user: {token: secret-token}
contexts:
- name: here
  context: {cluster: mine, user: me, namespace: work}
- name: there
  context: {cluster: other, user: bearer}
)";

TEST_F(ConfigTest, ReadsTheCurrentContext) {
  Write("me.crt", "CERTIFICATE");
  const auto config = LoadKubeconfig(Write("config", kGood));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->server, "https://10.0.0.1:6443");
  EXPECT_EQ(config->ca_pem, "CA");
  EXPECT_EQ(config->tls_server_name, "api");
  EXPECT_EQ(config->client_certificate_pem, "CERTIFICATE");
  EXPECT_EQ(config->client_key_pem.Reveal(), "KEY!");
  EXPECT_EQ(config->ns, "work");
}

TEST_F(ConfigTest, ReadsANamedContext) {
  const auto config = LoadKubeconfig(Write("config", kGood), "there");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->server, "https://other:1");
  EXPECT_EQ(config->token.Reveal(), "secret-token");
  EXPECT_EQ(config->ns, "default");
}

TEST_F(ConfigTest, BadFilesAreNamedAndTheirSecretsAreNot) {
  struct Case {
    const char* text;
    const char* message;
  };
  for (const Case& c :
       {Case{"", "no YAML map"}, Case{"[1, 2]", "no YAML map"},
        Case{"token: secret-token\n  x: [", "no valid YAML at line"},
        Case{"current-context: gone", "context 'gone' is not in it"},
        Case{"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]",
             "cluster 'c' is not in it"},
        Case{"current-context: a\ncontexts: 5", "context 'a' is not in it"},
        Case{"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
             "clusters: [{name: c, cluster: {server: s}}]\n"
             "users: [{name: u, user: {exec: {command: aws}}}]",
             "exec and auth-provider plugins are not supported"},
        Case{"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
             "clusters: [{name: c, cluster: {certificate-authority-data: '%%%'}}]\n",
             "certificate-authority-data: no base64"}}) {
    const auto config = LoadKubeconfig(Write("config", c.text));
    ASSERT_FALSE(config) << c.text;
    EXPECT_NE(config.error().message.find(c.message), std::string::npos) << config.error().message;
    EXPECT_EQ(config.error().message.find("secret-token"), std::string::npos);
  }
  const auto missing = LoadKubeconfig((directory_ / "none").string());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
}

TEST_F(ConfigTest, OutsideOfAPodTheServiceAccountIsUnavailable) {
  unsetenv("KUBERNETES_SERVICE_HOST");
  const auto config = InClusterConfig(directory_.string());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Code::kUnavailable);
  EXPECT_NE(config.error().message.find("--kubeconfig"), std::string::npos);
}

TEST_F(ConfigTest, InAPodTheTokenIsAFile) {
  setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  Write("ca.crt", "CA");
  Write("token", "t\n");
  Write("namespace", "fluid-system\n");
  const auto config = InClusterConfig(directory_.string());
  unsetenv("KUBERNETES_SERVICE_HOST");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->server, "https://[fd00::1]:443");
  EXPECT_EQ(config->token_file, directory_ / "token");
  EXPECT_TRUE(config->token.Empty());
  EXPECT_EQ(config->ns, "fluid-system");
}

TEST_F(ConfigTest, ConnectRefusesWhatCannotBeUsed) {
  platform::Metrics metrics;
  for (const char* server : {"", "10.0.0.1:6443", "ftp://host", "https://", "https://host:0",
                             "https://host:99999", "https://host:port", "https://host/path"}) {
    Config config;
    config.server = server;
    const auto cluster = Connect(config, {}, metrics);
    ASSERT_FALSE(cluster) << server;
    EXPECT_EQ(cluster.error().code, Code::kInvalidArgument) << server;
  }
  Config config;
  config.server = "https://host:1";
  config.ca_pem = "no certificate";
  EXPECT_FALSE(Connect(config, {}, metrics));
  config.ca_pem.clear();
  config.client_certificate_pem = "no certificate";
  EXPECT_FALSE(Connect(config, {}, metrics));
}

}  // namespace
}  // namespace sluice::kube
