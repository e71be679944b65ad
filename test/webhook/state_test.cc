// Where admission gets objects from, and what it writes.
#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "sluice/core/json_access.h"
#include "sluice/ports/live_objects.h"
#include "sluice/webhook/admission.h"
#include "sluice/webhook/certificate_loop.h"
#include "sluice/yaml/file_objects.h"

#include "fake_cluster.h"
#include "golden_case.h"
#include "informed_resources.h"
#include "manual_clock.h"

namespace sluice::webhook {
namespace {

using test::FakeCluster;
using test::ManualClock;

class EmptySource final : public ObjectSource {
 public:
  Result<std::shared_ptr<const Json>> Find(const ResourceType&, const ObjectKey&) const override {
    return Fail(Code::kNotFound, "empty");
  }
};

// A state that has not heard of one resource yet.
class Behind final : public ObjectSource {
 public:
  Behind(const ObjectSource& whole, const ResourceType& unheard)
      : whole_(whole), unheard_(unheard) {}
  Result<std::shared_ptr<const Json>> Find(const ResourceType& type,
                                           const ObjectKey& key) const override {
    if (type == unheard_) return Fail(Code::kNotFound, "not heard of yet");
    return whole_.Find(type, key);
  }

 private:
  const ObjectSource& whole_;
  const ResourceType& unheard_;
};

AdmissionRequest RequestOf(const std::string& golden) {
  const Json review = *test::LoadGoldenCase(golden).review;
  return *DecodeReview("application/json", review.dump()).request;
}

// Everything of the goldens' cluster, in an API server.
void Fill(FakeCluster& cluster) {
  const Json list = Json::parse(test::ReadFile(test::GoldenRoot() + "/cluster.json"));
  std::map<std::string, ResourceType> types;
  for (const auto& watched : InformedResources()) types[watched.type.kind] = watched.type;
  for (const Json& item : list["items"]) {
    const auto type = types.find(StringOf(item, "kind"));
    if (type == types.end()) continue;
    auto created = cluster.Create(type->second, item);
    ASSERT_TRUE(created) << created.error().message;
    if (item.contains("status")) {
      ASSERT_TRUE(cluster.MergePatch(type->second, KeyOf(item),
                                     Json::object({{"status", item["status"]}}), "status"));
    }
  }
}

class AdmissionStateTest : public testing::Test {
 protected:
  void SetUp() override { Fill(cluster_); }

  Admission Make(const ObjectSource& state, const ObjectSource* live) {
    return Admission({.state = state,
                      .live = live,
                      .config_maps = &config_maps_,
                      .clock = clock_,
                      .metrics = metrics_,
                      .log = platform::Log("test", platform::LogLevel::kError)},
                     injection::DefaultSettings());
  }

  FakeCluster cluster_;
  ManualClock clock_;
  platform::Metrics metrics_;
  ClusterConfigMaps config_maps_{cluster_, clock_};
  LiveObjects live_{cluster_};
  EmptySource empty_;
};

TEST_F(AdmissionStateTest, AsksTheApiServerWhenItsStateIsBehind) {
  const AdmissionRequest request = RequestOf("fluid-less-jfs");
  EXPECT_EQ(Make(empty_, nullptr).Admit(request).code, 500);
  const auto answer = Make(empty_, &live_).Admit(request);
  EXPECT_TRUE(answer.allowed) << answer.message;
  EXPECT_FALSE(answer.patch.empty());
}

TEST_F(AdmissionStateTest, TellsTheAuditLogWhy) {
  const auto answer = Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs"));
  ASSERT_TRUE(answer.allowed) << answer.message;
  EXPECT_EQ(answer.audit_annotations,
            (std::map<std::string, std::string>{
                {"mode", "sidecar"}, {"why", "dataset_sidecar oracle/jfs, DatasetUsageInjector"}}));
  const auto refused = Make(empty_, nullptr).Admit(RequestOf("fluid-less-jfs"));
  EXPECT_EQ(refused.audit_annotations.at("why"), "dataset_not_usable");
}

TEST_F(AdmissionStateTest, AsksTheApiServerBeforeAnOptedInPodGoesUntouched) {
  ASSERT_TRUE(
      cluster_.MergePatch(resources::kNamespace, {"", "oracle"},
                          {{"metadata", {{"labels", {{"fluid.io/enable-injection", "true"}}}}}}));
  const AdmissionRequest request = RequestOf("fluid-gate-no-label");
  // The namespace's label, or the claim, was made a moment ago.
  for (const ResourceType& unheard : {resources::kNamespace, resources::kPersistentVolumeClaim}) {
    const Behind state(live_, unheard);
    EXPECT_TRUE(Make(state, nullptr).Admit(request).patch.empty()) << unheard.kind;
    EXPECT_FALSE(Make(state, &live_).Admit(request).patch.empty()) << unheard.kind;
  }
}

TEST_F(AdmissionStateTest, MakesTheConfigMapsThatThePodMounts) {
  ASSERT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  for (const char* name : {"check-fluid-mount-ready", "juicefs-default-check-mount"}) {
    auto map = cluster_.Get(resources::kConfigMap, {"oracle", name});
    ASSERT_TRUE(map) << name;
    const Json annotations = (*map)["metadata"]["annotations"];
    EXPECT_EQ(annotations["fluid.io/check-mount-script-sha256"].get<std::string>().size(), 63U);
  }
  auto own = cluster_.Get(resources::kConfigMap, {"oracle", "juicefs-default-check-mount"});
  EXPECT_EQ((*own)["metadata"]["labels"]["fluid.io/dataset-id"], "oracle-jfs");
}

TEST_F(AdmissionStateTest, WritesNothingOnDryRun) {
  AdmissionRequest request = RequestOf("fluid-http-dryrun");
  ASSERT_TRUE(request.dry_run);
  const auto writes = cluster_.Writes();
  const auto answer = Make(live_, nullptr).Admit(request);
  EXPECT_TRUE(answer.allowed);
  EXPECT_FALSE(answer.patch.empty());
  EXPECT_EQ(cluster_.Writes(), writes);
}

TEST_F(AdmissionStateTest, HealsAConfigMapThatDiffers) {
  ASSERT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  const ObjectKey key{"oracle", "check-fluid-mount-ready"};
  Json map = *cluster_.Get(resources::kConfigMap, key);
  const Json sound = map["data"];
  map["data"] = {{"check-fluid-mount-ready.sh", "old"}};
  map["metadata"]["annotations"]["fluid.io/check-mount-script-sha256"] = "old";
  ASSERT_TRUE(cluster_.Replace(resources::kConfigMap, map));
  // What was right a moment ago is trusted for a while.
  ASSERT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  EXPECT_NE((*cluster_.Get(resources::kConfigMap, key))["data"], sound);
  clock_.Advance(std::chrono::minutes(2));
  ASSERT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  EXPECT_EQ((*cluster_.Get(resources::kConfigMap, key))["data"], sound);
}

TEST_F(AdmissionStateTest, MakesTheConfigMapsOfANamespaceThatWasMadeAnew) {
  const ObjectKey ns{"", "oracle"};
  const ObjectKey key{"oracle", "juicefs-default-check-mount"};
  ASSERT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  const auto writes = cluster_.Writes();
  ASSERT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  EXPECT_EQ(cluster_.Writes(), writes) << "the same namespace needs nothing";
  // Its ConfigMaps go with a namespace.
  Json anew = *cluster_.Get(resources::kNamespace, ns);
  for (const char* name : {"check-fluid-mount-ready", "juicefs-default-check-mount"}) {
    ASSERT_TRUE(cluster_.Delete(resources::kConfigMap, {"oracle", name}));
  }
  ASSERT_TRUE(cluster_.Delete(resources::kNamespace, ns));
  anew["metadata"].erase("uid");
  anew["metadata"].erase("resourceVersion");
  ASSERT_TRUE(cluster_.Create(resources::kNamespace, anew));
  ASSERT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  EXPECT_TRUE(cluster_.Get(resources::kConfigMap, key));
}

TEST_F(AdmissionStateTest, RefusesThePodWhenAConfigMapCannotBeWritten) {
  cluster_.OnRequest([](const std::string& request) -> Status {
    if (request.find("configmaps") == std::string::npos) return Ok();
    return Fail(Code::kPermissionDenied, "configmaps is forbidden");
  });
  const auto answer = Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs"));
  EXPECT_FALSE(answer.allowed);
  EXPECT_EQ(answer.code, 500);
  EXPECT_TRUE(answer.patch.empty());
  EXPECT_NE(answer.message.find("ConfigMap oracle/check-fluid-mount-ready"), std::string::npos)
      << answer.message;
}

// A second admission: the pod runs with the sidecars it has.
TEST_F(AdmissionStateTest, NeverRefusesAPodThatHasItsSidecars) {
  AdmissionRequest request = RequestOf("fluid-less-jfs");
  request.dry_run = true;  // the ConfigMaps are not there
  request.object = request.object.patch(Make(live_, nullptr).Admit(request).patch);
  Json& spec = request.object["spec"];
  spec["volumes"].push_back(
      Json::parse(R"({"name": "more", "persistentVolumeClaim": {"claimName": "alx"}})"));
  spec["containers"].push_back(Json::parse(
      R"({"name": "b", "image": "b", "volumeMounts": [{"name": "more", "mountPath": "/more"}]})"));
  ASSERT_FALSE(Make(live_, nullptr).Admit(request).patch.empty());

  request.dry_run = false;
  cluster_.OnRequest([](const std::string& call) -> Status {
    if (call.find("configmaps") == std::string::npos) return Ok();
    return Fail(Code::kPermissionDenied, "configmaps is forbidden");
  });
  const auto answer = Make(live_, nullptr).Admit(request);
  EXPECT_TRUE(answer.allowed) << answer.message;
  EXPECT_TRUE(answer.patch.empty());
  ASSERT_EQ(answer.warnings.size(), 1U);
  EXPECT_NE(answer.warnings[0].find("configmaps is forbidden"), std::string::npos);
  EXPECT_EQ(answer.audit_annotations.at("why"), "config_map_failed");
  EXPECT_NE(answer.audit_annotations.at("ignored-error").find("configmaps is forbidden"),
            std::string::npos);
  EXPECT_NE(metrics_.Render().find("outcome=\"error_ignored\""), std::string::npos);

  // What cannot be read is asked for from the API server first.
  const Behind state(live_, resources::kDataset);
  EXPECT_TRUE(Make(state, nullptr).Admit(request).allowed);
  cluster_.OnRequest([](const std::string&) { return Ok(); });
  EXPECT_FALSE(Make(state, &live_).Admit(request).patch.empty());
}

TEST_F(AdmissionStateTest, AdmitsWhatItCannotInjectWhenErrorsAreIgnored) {
  injection::Settings settings = injection::DefaultSettings();
  settings.failure_policy = injection::FailurePolicy::kIgnore;
  const Admission lenient({.state = empty_,
                           .live = &live_,
                           .config_maps = &config_maps_,
                           .clock = clock_,
                           .metrics = metrics_,
                           .log = platform::Log("test", platform::LogLevel::kError)},
                          settings);
  // An error on a state that is behind is none yet.
  EXPECT_FALSE(lenient.Admit(RequestOf("fluid-less-jfs")).patch.empty());

  const auto check = [&](const std::string& golden, const std::string& why,
                         const std::string& text) {
    const auto answer = lenient.Admit(RequestOf(golden));
    EXPECT_TRUE(answer.allowed) << answer.message;
    EXPECT_EQ(answer.code, 200);
    EXPECT_TRUE(answer.patch.empty());
    EXPECT_EQ(answer.audit_annotations.at("why"), why);
    EXPECT_NE(answer.audit_annotations.at("ignored-error").find(text), std::string::npos);
    ASSERT_EQ(answer.warnings.size(), 1U);
    for (const std::string& part : {std::string("pod oracle/app"), text}) {
      EXPECT_NE(answer.warnings[0].find(part), std::string::npos) << answer.warnings[0];
    }
    const std::string line = "outcome=\"error_ignored\",reason=\"" + why + "\"} 1";
    EXPECT_NE(metrics_.Render().find(line), std::string::npos) << metrics_.Render();
  };
  check("fluid-err-unbound", "dataset_not_usable", "dataset \"oracle/unbound\" not ready");
  check("refused-prefetch-async", "FilePrefetcher_failed", "no prefetcher image");
  cluster_.OnRequest([](const std::string& call) -> Status {
    if (call.find("configmaps") == std::string::npos) return Ok();
    return Fail(Code::kPermissionDenied, "configmaps is forbidden");
  });
  check("fluid-less-alx", "config_map_failed", "configmaps is forbidden");
}

TEST_F(AdmissionStateTest, LetsTwoReplicasWriteTheSameConfigMap) {
  bool raced = false;
  cluster_.OnRequest([&](const std::string& request) {
    if (!raced && request.starts_with("create configmaps")) {
      raced = true;
      ClusterConfigMaps other(cluster_, clock_);
      Admission({.state = live_,
                 .config_maps = &other,
                 .clock = clock_,
                 .metrics = metrics_,
                 .log = platform::Log("test", platform::LogLevel::kError)},
                injection::DefaultSettings())
          .Admit(RequestOf("fluid-less-jfs"));
    }
    return Ok();
  });
  EXPECT_TRUE(Make(live_, nullptr).Admit(RequestOf("fluid-less-jfs")).allowed);
  EXPECT_TRUE(raced);
}

// The watch keeps only part of every object; decisions must not notice.
TEST(InformedResourcesTest, KeepEverythingThatAdmissionReads) {
  const Json list = Json::parse(test::ReadFile(test::GoldenRoot() + "/cluster.json"));
  const yaml::FileObjects kept(list, KeepWhatAdmissionReads);
  const UnpackedObjects state(kept);
  ManualClock clock;
  platform::Metrics metrics;
  for (const std::string& name : test::GoldenCaseNames()) {
    const auto golden = test::LoadGoldenCase(name);
    if (!golden.review) continue;
    const Admission admission({.state = state,
                               .clock = clock,
                               .metrics = metrics,
                               .log = platform::Log("test", platform::LogLevel::kError)},
                              golden.settings);
    const auto request = *DecodeReview("application/json", golden.review->dump()).request;
    const auto answer = admission.Admit(request);
    EXPECT_EQ(answer.allowed, FlagOf(*golden.answer, "allowed")) << name;
    EXPECT_EQ(!answer.patch.empty(), golden.patched_pod.has_value()) << name;
    if (golden.patched_pod && !answer.patch.empty()) {
      EXPECT_EQ(request.object.patch(answer.patch), *golden.patched_pod) << name;
    }
  }
}

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "sluice-state-XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  std::string directory_;
};

TEST_F(FileTest, ObjectsMayBeYamlDocuments) {
  auto objects = yaml::FileObjects::Load(Write("o.yaml", R"(
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata: {name: c, namespace: a, labels: {x: "true"}}
)"));
  ASSERT_TRUE(objects) << objects.error().message;
  EXPECT_EQ((*objects)->Size(), 2U);
  auto claim = (*objects)->Find(resources::kPersistentVolumeClaim, {"a", "c"});
  ASSERT_TRUE(claim);
  EXPECT_EQ((**claim)["metadata"]["labels"]["x"], "true");
  EXPECT_FALSE((*objects)->Find(resources::kPersistentVolume, {"a", "c"}));
}

TEST_F(FileTest, BadObjectFilesAreNamed) {
  for (const auto& [name, text] :
       std::map<std::string, std::string>{{"a.json", "[1"}, {"b.json", "7"}, {"c.yaml", "a: [b"}}) {
    auto objects = yaml::FileObjects::Load(Write(name, text));
    ASSERT_FALSE(objects) << name;
    EXPECT_NE(objects.error().message.find(name), std::string::npos) << objects.error().message;
  }
  EXPECT_FALSE(yaml::FileObjects::Load(directory_ + "/none"));
}

TEST_F(FileTest, CertificateFilesAreReadAgainWhenTheyChange) {
  std::vector<std::string> used;
  platform::Metrics metrics;
  FileCertificates files(
      directory_,
      [&](const std::string& certificate, const std::string&) -> Status {
        if (certificate == "bad") return Fail(Code::kInvalidArgument, "bad");
        used.push_back(certificate);
        return Ok();
      },
      metrics, platform::Log("test", platform::LogLevel::kError));
  EXPECT_FALSE(files.Start());  // nothing there
  Write("tls.crt", "one");
  Write("tls.key", "k");
  ASSERT_TRUE(files.Start());
  EXPECT_FALSE(files.Check());
  Write("tls.crt", "bad");
  EXPECT_FALSE(files.Check());
  Write("tls.crt", "two");
  EXPECT_TRUE(files.Check());
  EXPECT_FALSE(files.Check());
  EXPECT_EQ(used, (std::vector<std::string>{"one", "two"}));
}

TEST_F(FileTest, SecretCertificatesFollowTheSecretAndHealTheBundle) {
  FakeCluster cluster;
  ManualClock clock;
  platform::Metrics metrics;
  ASSERT_TRUE(cluster.Create(resources::kMutatingWebhookConfiguration,
                             Json::parse(R"({"apiVersion": "admissionregistration.k8s.io/v1",
          "kind": "MutatingWebhookConfiguration",
          "metadata": {"name": "fluid-pod-admission-webhook"},
          "webhooks": [{"name": "a", "clientConfig": {}}]})")));
  std::vector<std::string> used;
  SecretCertificates certificates({.cluster = cluster,
                                   .clock = clock,
                                   .ns = "fluid-system",
                                   .directory = directory_,
                                   .use =
                                       [&](const std::string& certificate, const std::string&) {
                                         used.push_back(certificate);
                                         return Ok();
                                       },
                                   .metrics = metrics,
                                   .log = platform::Log("test", platform::LogLevel::kError)});
  ASSERT_TRUE(certificates.Start());
  ASSERT_EQ(used.size(), 1U);
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/tls.crt"));
  // Served, but not to be asked before its CA is in the bundle and was noticed there.
  EXPECT_NE(certificates.NotTrustedReason(), "");
  EXPECT_FALSE(certificates.Check());
  EXPECT_NE(certificates.NotTrustedReason(), "");
  clock.Advance(std::chrono::seconds(3));
  ASSERT_TRUE(certificates.Check());
  EXPECT_EQ(certificates.NotTrustedReason(), "");
  const ObjectKey key{"", certs::kConfigurationName};
  const auto bundle = [&] {
    return (*cluster.Get(resources::kMutatingWebhookConfiguration,
                         key))["webhooks"][0]["clientConfig"]["caBundle"];
  };
  const Json written = bundle();
  EXPECT_TRUE(written.is_string());
  // A chart upgrade resets it.
  ASSERT_TRUE(cluster.MergePatch(
      resources::kMutatingWebhookConfiguration, key,
      Json::parse(R"({"webhooks": [{"name": "a", "clientConfig": {"caBundle": "Cg=="}}]})")));
  ASSERT_TRUE(certificates.Check());
  EXPECT_EQ(bundle(), written);
  // Near its end the certificate is renewed while we run.
  clock.Advance(certs::kLifetime - std::chrono::days(10));
  // Its CA is trusted first and used a moment later.
  EXPECT_FALSE(certificates.Check());
  EXPECT_NE(bundle(), written);
  EXPECT_EQ(used.size(), 1U);
  EXPECT_EQ(certificates.NotTrustedReason(), "") << "the one that is served is still trusted";
  clock.Advance(std::chrono::seconds(2));
  EXPECT_FALSE(certificates.Check());
  EXPECT_EQ(used.size(), 1U);
  clock.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(certificates.Check());
  ASSERT_EQ(used.size(), 2U);
  EXPECT_NE(used[0], used[1]);
  // The one before is trusted for as long as a replica may need it, and no longer.
  const Json both = bundle();
  clock.Advance(std::chrono::minutes(9));
  ASSERT_TRUE(certificates.Check());
  EXPECT_EQ(bundle(), both);
  clock.Advance(std::chrono::minutes(1));
  ASSERT_TRUE(certificates.Check());
  EXPECT_LT(bundle().get<std::string>().size(), both.get<std::string>().size());
  // And without an API server the old one stays.
  cluster.OnRequest([](const std::string&) -> Status { return Fail(Code::kUnavailable, "down"); });
  EXPECT_FALSE(certificates.Check());
  EXPECT_EQ(used.size(), 2U);
}

TEST(CertificateLoopTest, IsTrustedWhereAnotherKeepsTheBundle) {
  for (const Code code : {Code::kPermissionDenied, Code::kUnavailable}) {
    FakeCluster cluster;
    ManualClock clock;
    platform::Metrics metrics;
    SecretCertificates certificates({.cluster = cluster,
                                     .clock = clock,
                                     .ns = "fluid-system",
                                     .directory = "",
                                     .use = [](const auto&, const auto&) { return Ok(); },
                                     .metrics = metrics,
                                     .log = platform::Log("test", platform::LogLevel::kError)});
    ASSERT_TRUE(certificates.Start());
    cluster.OnRequest([&](const std::string& request) -> Status {
      if (request.find("mutatingwebhook") == std::string::npos) return Ok();
      return Fail(code, "no");
    });
    EXPECT_FALSE(certificates.Check());
    EXPECT_EQ(certificates.NotTrustedReason().empty(), code == Code::kPermissionDenied);
  }
}

TEST(CertificateLoopTest, RunsUntilStopped) {
  FakeCluster cluster;
  ManualClock clock;
  platform::Metrics metrics;
  SecretCertificates certificates({.cluster = cluster,
                                   .clock = clock,
                                   .ns = "fluid-system",
                                   .directory = "",
                                   .use = [](const auto&, const auto&) { return Ok(); },
                                   .metrics = metrics,
                                   .log = platform::Log("test", platform::LogLevel::kError)});
  std::jthread loop([&](const std::stop_token& stop) { certificates.Run(stop); });
  certificates.Wake();
  loop.request_stop();
  loop.join();
}

}  // namespace
}  // namespace sluice::webhook
