#include "sluice/certs/certificate_secret.h"

#include <sys/stat.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "sluice/certs/base64.h"

#include "fake_cluster.h"
#include "manual_clock.h"

namespace sluice::certs {
namespace {

using test::FakeCluster;
using test::ManualClock;

const ObjectKey kSecret{"fluid-system", kSecretName};

class CertificateSecretTest : public testing::Test {
 protected:
  FakeCluster cluster_;
  ManualClock clock_;
  CertificateSecret secret_{cluster_, clock_, "fluid-system"};

  Json Stored() { return *cluster_.Get(resources::kSecret, kSecret); }
};

TEST_F(CertificateSecretTest, CreatesTheSecretOfTheContract) {
  auto renewal = secret_.Ensure();
  ASSERT_TRUE(renewal) << renewal.error().message;
  EXPECT_NE(renewal->reason, "");
  const Json data = Stored()["data"];
  for (const char* key :
       {"ca-key.pem", "ca-cert.pem", "key.pem", "cert.pem", "tls.key", "tls.crt"}) {
    EXPECT_TRUE(data.contains(key)) << key;
  }
  EXPECT_EQ(data["key.pem"], data["tls.key"]);
  EXPECT_EQ(data["cert.pem"], data["tls.crt"]);
}

TEST_F(CertificateSecretTest, ReusesWhatIsThere) {
  auto first = secret_.Ensure();
  const auto writes = cluster_.Writes();
  auto second = CertificateSecret(cluster_, clock_, "fluid-system").Ensure();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->reason, "");
  EXPECT_EQ(second->identity, first->identity);
  EXPECT_EQ(cluster_.Writes(), writes);
}

TEST_F(CertificateSecretTest, RenewsWhileItRuns) {
  auto first = secret_.Ensure();
  clock_.Advance(kLifetime - std::chrono::days(100));
  auto second = secret_.Ensure();
  ASSERT_TRUE(second);
  EXPECT_NE(second->reason, "");
  EXPECT_NE(second->identity.serving, first->identity.serving);
  EXPECT_EQ(secret_.Ensure()->reason, "");
}

TEST_F(CertificateSecretTest, KeepsOtherKeysOfTheSecret) {
  ASSERT_TRUE(cluster_.Create(
      resources::kSecret,
      Json::parse(R"({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace":
          "fluid-system", "name": "fluid-webhook-certs"}, "data": {"mine": "eA=="}})")));
  ASSERT_TRUE(secret_.Ensure());
  EXPECT_EQ(Stored()["data"]["mine"], "eA==");
}

TEST_F(CertificateSecretTest, TakesTheWinnersWhenItLosesTheCreation) {
  // Between our read and our create another replica creates.
  Result<Renewal> winner = Fail(Code::kInternal, "");
  bool raced = false;
  cluster_.OnRequest([&](const std::string& request) {
    if (!raced && request.starts_with("create")) {
      raced = true;
      winner = CertificateSecret(cluster_, clock_, "fluid-system").Ensure();
    }
    return Ok();
  });
  auto ours = secret_.Ensure();
  ASSERT_TRUE(raced);
  ASSERT_TRUE(ours) << ours.error().message;
  ASSERT_TRUE(winner);
  EXPECT_EQ(ours->identity, winner->identity);
}

TEST_F(CertificateSecretTest, TakesTheWinnersWhenItLosesTheRenewal) {
  ASSERT_TRUE(secret_.Ensure());
  clock_.Advance(kLifetime - std::chrono::days(100));
  Result<Renewal> winner = Fail(Code::kInternal, "");
  bool raced = false;
  cluster_.OnRequest([&](const std::string& request) {
    if (!raced && (request.starts_with("replace") || request.starts_with("update"))) {
      raced = true;
      winner = CertificateSecret(cluster_, clock_, "fluid-system").Ensure();
    }
    return Ok();
  });
  auto ours = secret_.Ensure();
  ASSERT_TRUE(raced);
  ASSERT_TRUE(ours) << ours.error().message;
  EXPECT_EQ(ours->identity, winner->identity);
}

TEST_F(CertificateSecretTest, SaysWhatItCouldNotDo) {
  cluster_.OnRequest([](const std::string&) -> Status {
    return Fail(Code::kPermissionDenied, "secrets is forbidden");
  });
  auto renewal = secret_.Ensure();
  ASSERT_FALSE(renewal);
  EXPECT_EQ(renewal.error().code, Code::kPermissionDenied);
  EXPECT_NE(renewal.error().message.find("fluid-system/fluid-webhook-certs"), std::string::npos);
}

Json Configuration() {
  return Json::parse(R"({"apiVersion": "admissionregistration.k8s.io/v1",
      "kind": "MutatingWebhookConfiguration", "metadata": {"name": "fluid-pod-admission-webhook"},
      "webhooks": [
        {"name": "a", "timeoutSeconds": 15, "clientConfig": {"caBundle": "Cg==",
         "service": {"name": "s"}}},
        {"name": "b", "clientConfig": {"service": {"name": "s"}}}]})");
}

const WallTime kToday = std::chrono::system_clock::now();

const KeyPair& TestCa(std::size_t which) {
  static const std::vector<KeyPair> kCas = [] {
    std::vector<KeyPair> cas;
    for (int i = 0; i < 3; ++i) cas.push_back(*IssueCa("webhook-cert-ca", kToday));
    return cas;
  }();
  return kCas[which];
}

TEST(CaBundleTest, IsWrittenToEveryWebhook) {
  FakeCluster cluster;
  ASSERT_TRUE(cluster.Create(resources::kMutatingWebhookConfiguration, Configuration()));
  const std::string& ca = TestCa(0).certificate;
  auto written = EnsureCaBundle(cluster, kConfigurationName, ca, PreviousCa::kKeep, kToday);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_TRUE(*written);
  const Json after =
      *cluster.Get(resources::kMutatingWebhookConfiguration, {"", kConfigurationName});
  for (const Json& webhook : after["webhooks"]) {
    EXPECT_EQ(webhook["clientConfig"]["caBundle"], EncodeBase64(ca));
    EXPECT_EQ(webhook["clientConfig"]["service"]["name"], "s");
  }
  EXPECT_EQ(after["webhooks"][0]["timeoutSeconds"], 15);
  EXPECT_FALSE(*EnsureCaBundle(cluster, kConfigurationName, ca, PreviousCa::kKeep, kToday));
}

TEST(CaBundleTest, KeepsTheAuthorityBefore) {
  FakeCluster cluster;
  ASSERT_TRUE(cluster.Create(resources::kMutatingWebhookConfiguration, Configuration()));
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(*EnsureCaBundle(cluster, kConfigurationName, TestCa(i).certificate,
                                PreviousCa::kKeep, kToday));
    EXPECT_FALSE(*EnsureCaBundle(cluster, kConfigurationName, TestCa(i).certificate,
                                 PreviousCa::kKeep, kToday));
  }
  const Json after =
      *cluster.Get(resources::kMutatingWebhookConfiguration, {"", kConfigurationName});
  EXPECT_EQ(after["webhooks"][1]["clientConfig"]["caBundle"],
            EncodeBase64(TestCa(2).certificate + TestCa(1).certificate));
  ASSERT_TRUE(*EnsureCaBundle(cluster, kConfigurationName, TestCa(2).certificate, PreviousCa::kDrop,
                              kToday));
  EXPECT_EQ(
      ValueAt(*cluster.Get(resources::kMutatingWebhookConfiguration, {"", kConfigurationName}),
              "/webhooks/1/clientConfig/caBundle"),
      EncodeBase64(TestCa(2).certificate));
}

TEST(CaBundleTest, TrustsNothingElse) {
  const std::string& ca = TestCa(0).certificate;
  const auto serving = IssueServing(TestCa(1), ServiceNames("fluid-system"), kToday);
  const auto ended = IssueCa("webhook-cert-ca", kToday - std::chrono::days(4000));
  for (const std::string& bundle : {std::string(), std::string("\n"), std::string("no PEM"), ca,
                                    serving->certificate, ended->certificate}) {
    EXPECT_EQ(BundleWithPrevious(ca, bundle, kToday), ca);
  }
  EXPECT_EQ(BundleWithPrevious(ca, "text\n" + serving->certificate + TestCa(1).certificate, kToday),
            ca + TestCa(1).certificate);
}

TEST(CaBundleTest, IsAnErrorWithoutAConfiguration) {
  FakeCluster cluster;
  auto written = EnsureCaBundle(cluster, kConfigurationName, "pem", PreviousCa::kKeep, kToday);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kNotFound);
}

TEST(CertificateFilesTest, AreForTheOwnerOnly) {
  const std::string directory = testing::TempDir() + "sluice-certs-XXXXXX";
  std::string path = directory;
  ASSERT_NE(::mkdtemp(path.data()), nullptr);
  const Identity identity{{"ca", "ca-key"}, {"cert", "key"}};
  ASSERT_TRUE(WriteCertificateFiles(path, identity));
  ASSERT_TRUE(WriteCertificateFiles(path, identity));  // over what is there
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 6);
  std::filesystem::remove_all(path);
  EXPECT_FALSE(WriteCertificateFiles(path, identity));
}

}  // namespace
}  // namespace sluice::certs
