// Certificates rotate under a real API server while it sends admission requests.
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "sluice/kube/client.h"
#include "sluice/webhook/admission.h"
#include "sluice/webhook/certificate_loop.h"
#include "sluice/webhook/tls_server.h"
#include "sluice/yaml/file_objects.h"

#include "api_server.h"

namespace sluice::webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Renewed at half their life: a rotation of CA and serving certificate every 17 s.
constexpr certs::Policy kShortLives{
    .lifetime = seconds(34), .renew_serving_before = seconds(17), .renew_ca_before = seconds(17)};
constexpr seconds kTraffic{60};    // at least
constexpr seconds kPatience{120};  // on a machine that is busy with other things
constexpr std::size_t kRotations = 3;

// A replica of the webhook in this process.
class Replica {
 public:
  Replica(Cluster& cluster, const Clock& clock)
      : admission_({.state = state_, .clock = clock, .metrics = metrics_, .log = log_},
                   injection::DefaultSettings()),
        server_(
            {.path = "/admit"},
            [this](std::string_view type, std::string_view body) {
              return admission_.Serve(type, body);
            },
            log_, metrics_),
        certificates_({.cluster = cluster,
                       .clock = clock,
                       .ns = "default",
                       .directory = "",
                       .use =
                           [this](const std::string& certificate, const std::string& key) {
                             ++used_;
                             return server_.UseCertificate(certificate, key);
                           },
                       .metrics = metrics_,
                       .log = log_,
                       .policy = kShortLives,
                       .timing = {.check_every = milliseconds(1000),
                                  .retry_after = milliseconds(500),
                                  .settle = milliseconds(3000)}}) {}

  Result<int> Start() {
    SLUICE_CHECK(certificates_.Start(), "certificate");
    return server_.Start("127.0.0.1", 0);
  }
  void Run(const std::stop_token& stop) { certificates_.Run(stop); }
  [[nodiscard]] std::size_t CertificatesUsed() const { return used_; }

 private:
  platform::Metrics metrics_;
  platform::Log log_{"replica", platform::LogLevel::kWarn};
  yaml::FileObjects state_{Json::object()};
  Admission admission_;
  TlsServer server_;
  std::atomic<std::size_t> used_{0};
  SecretCertificates certificates_;
};

// One webhook per replica, so that every pod is seen by both.
Json RotationConfiguration(const std::vector<int>& ports) {
  Json webhooks = Json::array();
  for (const int port : ports) {
    webhooks.push_back(Json::parse(R"({"failurePolicy": "Fail", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                   "resources": ["pods"]}]})"));
    webhooks.back()["name"] = "replica-" + std::to_string(port) + ".sluice.io";
    webhooks.back()["clientConfig"]["url"] = "https://localhost:" + std::to_string(port) + "/admit";
  }
  return {{"apiVersion", "admissionregistration.k8s.io/v1"},
          {"kind", "MutatingWebhookConfiguration"},
          {"metadata", {{"name", certs::kConfigurationName}}},
          {"webhooks", std::move(webhooks)}};
}

const Json kRotationPod = Json::parse(R"({"apiVersion": "v1", "kind": "Pod",
    "metadata": {"generateName": "p-", "namespace": "default",
                 "labels": {"fuse.serverful.fluid.io/inject": "true"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]}})");

TEST(RotationTest, NoRequestFailsAcrossThreeRotationsWithTwoReplicas) {
  const std::string missing = test::ApiServer::Unavailable();
  if (!missing.empty()) GTEST_SKIP() << missing;
  auto api_server = test::ApiServer::Start();
  ASSERT_TRUE(api_server) << api_server.error().message;
  platform::Metrics metrics;
  auto cluster = kube::Connect((*api_server)->TokenConfig(), {}, metrics);
  ASSERT_TRUE(cluster) << cluster.error().message;

  const SystemClock clock;
  std::vector<std::unique_ptr<Replica>> replicas;
  std::vector<int> ports;
  for (int i = 0; i < 2; ++i) {
    replicas.push_back(std::make_unique<Replica>(**cluster, clock));
    auto port = replicas.back()->Start();
    ASSERT_TRUE(port) << port.error().message;
    ports.push_back(*port);
  }
  ASSERT_TRUE(
      (*cluster)->Create(resources::kMutatingWebhookConfiguration, RotationConfiguration(ports)));
  std::vector<std::jthread> loops;
  for (auto& replica : replicas) {
    loops.emplace_back([&replica](const std::stop_token& stop) { replica->Run(stop); });
  }

  // From the first pod that both have admitted on, every one must be.
  const auto start_by = std::chrono::steady_clock::now() + seconds(60);
  while (!(*cluster)->Create(resources::kPod, kRotationPod)) {
    ASSERT_LT(std::chrono::steady_clock::now(), start_by) << "the webhooks never answered";
    std::this_thread::sleep_for(milliseconds(100));
  }
  int admitted = 0;
  std::vector<std::string> failures;
  const auto begin = std::chrono::steady_clock::now();
  const auto all_rotated = [&] {
    return std::all_of(replicas.begin(), replicas.end(), [](const auto& replica) {
      return replica->CertificatesUsed() >= 1 + kRotations;
    });
  };
  for (auto spent = begin - begin; spent < kTraffic || (!all_rotated() && spent < kPatience);
       spent = std::chrono::steady_clock::now() - begin) {
    auto created = (*cluster)->Create(resources::kPod, kRotationPod);
    if (!created) {
      failures.push_back(created.error().message);
    } else if (created->at("spec").contains("affinity")) {
      ++admitted;
      (void)(*cluster)->Delete(resources::kPod, KeyOf(*created));
    } else {
      failures.emplace_back("a pod passed unseen");
    }
  }
  for (std::jthread& loop : loops) loop.request_stop();
  loops.clear();
  EXPECT_TRUE(failures.empty()) << failures.size() << " of " << admitted
                                << ", first: " << failures.front();
  EXPECT_GT(admitted, 100);
  EXPECT_TRUE(all_rotated());
}

}  // namespace
}  // namespace sluice::webhook
