#include "sluice/controller/dataset_reconciler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reconcile_fixture.h"

namespace sluice::controller {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ObjectKey kVolume{"", "default-demo"};
const ObjectKey kClaim{"default", "demo"};
const ObjectKey kConfig{"default", "demo-fuse-config"};
const ObjectKey kWorkload{"default", "demo-fuse"};
const ObjectKey kSidecar{"default", "demo-fuse-sidecar"};

class DatasetReconcilerTest : public testing::Test {
 protected:
  // Every object of the pair, as "kind name" where it exists.
  std::vector<std::string> Existing() {
    std::vector<std::string> found;
    for (const auto& [type, key] : std::vector<std::pair<ResourceType, ObjectKey>>{
             {resources::kPersistentVolume, kVolume},
             {resources::kPersistentVolumeClaim, kClaim},
             {resources::kConfigMap, kConfig},
             {resources::kDaemonSet, kWorkload},
             {resources::kPodTemplate, kSidecar},
             {resources::kSluiceRuntime, kClaim},
             {resources::kDataset, kClaim}}) {
      if (r.Get(type, key).is_object()) found.push_back(type.kind);
    }
    return found;
  }
  // Rounds until nothing is left to do, at most ten.
  void Settle() {
    for (int i = 0; i < 10 && !Existing().empty(); ++i) r.Reconcile();
  }
  void CreatePod(const Json& volume, const std::string& phase = "Running") {
    r.Create(resources::kPod, {{"metadata", {{"name", "app"}, {"namespace", "default"}}},
                               {"spec", {{"volumes", Json::array({volume})}}},
                               {"status", {{"phase", phase}}}});
  }

  test::FakeCluster cluster;
  ReconcileFixture r{cluster};
};

TEST_F(DatasetReconcilerTest, BindsADatasetWithItsRuntime) {
  r.CreatePair();
  EXPECT_EQ(r.Reconcile(), 90);
  EXPECT_EQ(r.Phase(), "Bound");
  EXPECT_EQ(r.Condition("Ready"), "True DatasetReady: The ddc runtime is ready.");
  EXPECT_EQ(Existing().size(), 7U);
  const Json dataset = r.GetDataset();
  EXPECT_EQ(dataset["status"]["mounts"], dataset["spec"]["mounts"]);
  EXPECT_EQ(dataset["status"]["runtimes"][0], Json({{"name", "demo"},
                                                    {"namespace", "default"},
                                                    {"category", "Accelerate"},
                                                    {"type", "sluice"}}));
  EXPECT_EQ(dataset["metadata"]["finalizers"][0], kDatasetFinalizer);
  EXPECT_EQ(dataset["metadata"]["labels"][kDatasetIdLabel], "default-demo");
  const Json runtime = r.GetRuntime();
  EXPECT_EQ(runtime["metadata"]["ownerReferences"][0]["uid"], dataset["metadata"]["uid"]);
  EXPECT_FALSE(runtime["metadata"]["ownerReferences"][0].contains("controller"));
  EXPECT_EQ(runtime["metadata"]["finalizers"][0], "sluice-runtime-controller-finalizer");
  EXPECT_EQ(runtime["status"]["setupDuration"], "10s");
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime Succeed"));
}

TEST_F(DatasetReconcilerTest, TheClaimExistsBeforeBoundIsSaid) {
  r.CreatePair();
  bool checked = false;
  cluster.OnRequest([&](const std::string& request) -> Status {
    if (request == "apply-status datasets default/demo") {
      // The lock is free here: the hook runs before the request.
      checked = r.Get(resources::kPersistentVolumeClaim, kClaim).is_object();
    }
    return Ok();
  });
  r.Reconcile();
  EXPECT_TRUE(checked);
}

TEST_F(DatasetReconcilerTest, ASecondRoundChangesNothing) {
  r.CreatePair();
  r.Reconcile();
  r.Reconcile();  // status of the objects made in the first
  const auto writes = cluster.Writes();
  r.Time().Advance(std::chrono::seconds(90));
  EXPECT_EQ(r.Reconcile(), 90);
  EXPECT_EQ(cluster.Writes(), writes);
}

TEST_F(DatasetReconcilerTest, DatasetAloneIsNotBound) {
  r.Create(resources::kDataset, ReconcileFixture::Dataset());
  EXPECT_EQ(r.Reconcile(), -1);
  EXPECT_EQ(r.Phase(), "NotBound");
  EXPECT_EQ(r.GetDataset()["status"]["conditions"], Json::array());
  EXPECT_THAT(Existing(), ElementsAre("Dataset"));
}

TEST_F(DatasetReconcilerTest, RuntimeAloneWaitsForItsDataset) {
  r.Create(resources::kSluiceRuntime, ReconcileFixture::Runtime());
  EXPECT_EQ(r.Reconcile(), 5);
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime ErrorProcessRuntime"));
  r.Create(resources::kDataset, ReconcileFixture::Dataset());
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
}

struct BadInput {
  const char* name;
  const char* patch;    // of the Dataset, as a merge patch
  const char* message;  // part of the condition's message
};

class BadInputTest : public DatasetReconcilerTest, public testing::WithParamInterface<BadInput> {};

TEST_P(BadInputTest, StaysNotBoundTellsWhyAndRecovers) {
  r.CreatePair();
  ASSERT_TRUE(cluster.MergePatch(resources::kDataset, kClaim, Json::parse(GetParam().patch)));
  EXPECT_EQ(r.Reconcile(), std::string(GetParam().name) == "MissingSecret" ? 5 : 20);
  EXPECT_EQ(r.Phase(), "NotBound");
  EXPECT_THAT(r.Condition("NotReady"),
              testing::AllOf(HasSubstr("True DatasetFailedToSetup: Dataset default/demo: "),
                             HasSubstr(GetParam().message)));
  EXPECT_THAT(r.TakeEvents(),
              ElementsAre("Dataset ErrorProcessDataset", "SluiceRuntime ErrorProcessRuntime"));
  EXPECT_FALSE(r.Get(resources::kPersistentVolumeClaim, kClaim).is_object());

  Json fixed = r.GetDataset();
  fixed["spec"] = ReconcileFixture::Dataset()["spec"];
  fixed["metadata"].erase("annotations");
  ASSERT_TRUE(cluster.Replace(resources::kDataset, fixed));
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  EXPECT_EQ(r.Condition("NotReady"), "none");
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadInputTest,
    testing::Values(
        BadInput{"UnknownScheme", R"({"spec":{"mounts":[{"mountPoint":"ftp://host/dir"}]}})",
                 "spec.mounts[0].mountPoint: scheme \"ftp\" is not known"},
        BadInput{"NoMounts", R"({"spec":{"mounts":null}})", "spec.mounts: is empty; add a mount"},
        BadInput{"NoBucket", R"({"spec":{"mounts":[{"mountPoint":"s3:///x"}]}})",
                 "the bucket is missing"},
        BadInput{"DotDotPath",
                 R"({"spec":{"mounts":[{"mountPoint":"s3://models","path":"/../etc"}]}})",
                 "spec.mounts[0].path"},
        BadInput{"TwoMountsAtOnePlace",
                 R"({"spec":{"mounts":[{"mountPoint":"s3://one","path":"/a"},
                                       {"mountPoint":"s3://two","path":"/a"}]}})",
                 "spec.mounts[1]"},
        BadInput{"HalfAKeyPair",
                 R"({"spec":{"mounts":[{"mountPoint":"s3://models",
                     "options":{"aws.accessKeyId":"x"}}]}})",
                 "spec.mounts[0]"},
        BadInput{"EncryptOptionWithoutKey",
                 R"({"spec":{"mounts":[{"mountPoint":"s3://models","encryptOptions":[
                     {"name":"aws.secretKey","valueFrom":{"secretKeyRef":{"name":"s"}}}]}]}})",
                 "spec.mounts[0].encryptOptions[0]: needs name"},
        BadInput{"PlainAndEncrypted",
                 R"({"spec":{"mounts":[{"mountPoint":"s3://models","options":{"k":"v"},
                     "encryptOptions":[{"name":"k","valueFrom":{"secretKeyRef":
                     {"name":"s","key":"k"}}}]}]}})",
                 "option \"k\" is given twice"},
        BadInput{"UnknownAccessMode", R"({"spec":{"accessModes":["ReadAlways"]}})",
                 "spec.accessModes: \"ReadAlways\" is not known"},
        BadInput{"BadCapacity",
                 R"({"metadata":{"annotations":
                     {"pvc.fluid.io/resources.requests.storage":"lots"}}})",
                 "\"lots\" is no quantity"},
        BadInput{"MissingSecret",
                 R"({"spec":{"sharedEncryptOptions":[
                     {"name":"aws.accessKeyId","valueFrom":{"secretKeyRef":
                     {"name":"keys","key":"id"}}},
                     {"name":"aws.secretKey","valueFrom":{"secretKeyRef":
                     {"name":"keys","key":"secret"}}}]}})",
                 "Secret default/keys (key \"id\") does not exist"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(DatasetReconcilerTest, NamesTheMissingKeyOfASecret) {
  Json dataset = ReconcileFixture::Dataset();
  dataset["spec"]["sharedEncryptOptions"] = Json::parse(R"([
      {"name":"aws.accessKeyId","valueFrom":{"secretKeyRef":{"name":"keys","key":"id"}}},
      {"name":"aws.secretKey","valueFrom":{"secretKeyRef":{"name":"keys","key":"secret"}}}])");
  r.Create(resources::kDataset, dataset);
  r.Create(resources::kSluiceRuntime, ReconcileFixture::Runtime());
  r.Create(resources::kSecret, {{"metadata", {{"name", "keys"}, {"namespace", "default"}}},
                                {"data", {{"id", "c2VjcmV0LWlk"}}}});
  r.Reconcile();
  EXPECT_THAT(r.Condition("NotReady"), HasSubstr("Secret default/keys has no key \"secret\""));
  ASSERT_TRUE(cluster.MergePatch(resources::kSecret, {"default", "keys"},
                                 {{"data", {{"secret", "c2VjcmV0LWtleQ=="}}}}));
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  // Values go nowhere.
  for (const auto& [type, key] :
       std::vector<std::pair<ResourceType, ObjectKey>>{{resources::kConfigMap, kConfig},
                                                       {resources::kDaemonSet, kWorkload},
                                                       {resources::kPodTemplate, kSidecar},
                                                       {resources::kPersistentVolume, kVolume},
                                                       {resources::kDataset, kClaim}}) {
    EXPECT_EQ(r.Get(type, key).dump().find("c2VjcmV0"), std::string::npos) << type.kind;
  }
}

TEST_F(DatasetReconcilerTest, SecretsThatMayNotBeReadAreLeftToTheKubelet) {
  Json dataset = ReconcileFixture::Dataset();
  dataset["spec"]["mounts"][0]["encryptOptions"] = Json::parse(R"([
      {"name":"aws.accessKeyId","valueFrom":{"secretKeyRef":{"name":"keys","key":"id"}}},
      {"name":"aws.secretKey","valueFrom":{"secretKeyRef":{"name":"keys","key":"secret"}}}])");
  r.Create(resources::kDataset, dataset);
  r.Create(resources::kSluiceRuntime, ReconcileFixture::Runtime());
  cluster.OnRequest([](const std::string& request) -> Status {
    if (request.starts_with("get secrets")) return Fail(Code::kPermissionDenied, "forbidden");
    return Ok();
  });
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
}

TEST_F(DatasetReconcilerTest, RefusesNamesThatAreNoDnsLabel) {
  for (const char* name : {"1demo", "my.model"}) {
    r.CreatePair(name);
    EXPECT_EQ(r.Reconcile(name), -1);
    EXPECT_EQ(r.Phase(name), "none") << "left alone";
    EXPECT_THAT(r.TakeEvents(),
                ElementsAre("Dataset ErrorCreateDataset", "SluiceRuntime ErrorProcessRuntime"));
  }
}

TEST_F(DatasetReconcilerTest, TheOlderOfTwoRuntimeKindsWins) {
  const ResourceType& rival = OtherRuntimeTypes().front();
  r.Create(resources::kDataset, ReconcileFixture::Dataset());
  r.Create(rival, {{"metadata", {{"name", "demo"}, {"namespace", "default"}}}});
  cluster.SetTime("2026-01-01T00:00:05Z");
  r.Create(resources::kSluiceRuntime, ReconcileFixture::Runtime());
  EXPECT_EQ(r.Reconcile(), 20);
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime ErrorProcessRuntime"));
  EXPECT_NE(r.Phase(), "Bound");
  // The rival leaves; we are next.
  ASSERT_TRUE(cluster.Delete(rival, kClaim));
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  r.TakeEvents();
  // A bound Dataset stays with us, whoever comes.
  r.Create(rival, {{"metadata", {{"name", "demo"}, {"namespace", "default"}}}});
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  EXPECT_THAT(r.TakeEvents(), ElementsAre("AlluxioRuntime ErrorProcessRuntime"));
}

TEST_F(DatasetReconcilerTest, ALoserThatLeavesTakesNothingOfTheWinner) {
  r.CreatePair();
  r.Reconcile();
  ASSERT_EQ(r.Phase(), "Bound");
  // Another engine's controller has bound the Dataset meanwhile.
  ASSERT_TRUE(cluster.MergePatch(
      resources::kDataset, kClaim,
      {{"status", {{"runtimes", Json::array({{{"name", "demo"}, {"type", "alluxio"}}})}}}},
      "status"));
  ASSERT_TRUE(cluster.Delete(resources::kSluiceRuntime, kClaim));
  for (int round = 0; round < 5; ++round) r.Reconcile();
  EXPECT_FALSE(cluster.Get(resources::kSluiceRuntime, kClaim));
  EXPECT_TRUE(cluster.Get(resources::kPersistentVolumeClaim, kClaim));
  const auto dataset = cluster.Get(resources::kDataset, kClaim);
  ASSERT_TRUE(dataset);
  EXPECT_EQ(StringAt(*dataset, "/status/runtimes/0/type"), "alluxio");
}

TEST_F(DatasetReconcilerTest, DriftIsHealed) {
  r.CreatePair();
  r.Reconcile();
  ASSERT_TRUE(cluster.Delete(resources::kDaemonSet, kWorkload));
  ASSERT_TRUE(
      cluster.MergePatch(resources::kConfigMap, kConfig, {{"data", {{"config.json", "broken"}}}}));
  r.Reconcile();
  EXPECT_TRUE(r.Get(resources::kDaemonSet, kWorkload).is_object());
  EXPECT_NE(r.Get(resources::kConfigMap, kConfig)["data"]["config.json"], "broken");
}

TEST_F(DatasetReconcilerTest, AClaimDeletedByHandComesBackAndItsVolumeIsOfferedAgain) {
  r.CreatePair();
  r.Reconcile();
  ASSERT_TRUE(cluster.MergePatch(resources::kPersistentVolume, kVolume,
                                 {{"spec", {{"claimRef", {{"uid", "old"}}}}}}));
  ASSERT_TRUE(cluster.Delete(resources::kPersistentVolumeClaim, kClaim));
  r.Reconcile();
  EXPECT_TRUE(r.Get(resources::kPersistentVolumeClaim, kClaim).is_object());
  EXPECT_FALSE(r.Get(resources::kPersistentVolume, kVolume)["spec"]["claimRef"].contains("uid"));
}

TEST_F(DatasetReconcilerTest, EditedMountsReachTheConfigAndTheStatus) {
  r.CreatePair();
  r.Reconcile();
  std::vector<std::string> phases;
  ASSERT_TRUE(cluster.MergePatch(
      resources::kDataset, kClaim,
      Json::parse(R"({"spec":{"mounts":[{"mountPoint":"s3://others","name":"m","path":"/"}]}})")));
  cluster.OnRequest([&](const std::string& request) -> Status {
    if (request.starts_with("apply configmaps")) phases.push_back(r.Phase());
    return Ok();
  });
  r.Reconcile();
  EXPECT_THAT(phases, ElementsAre("Updating"));
  EXPECT_EQ(r.Phase(), "Bound");
  EXPECT_EQ(r.Condition("Updating"), "none");
  EXPECT_EQ(r.GetDataset()["status"]["mounts"][0]["mountPoint"], "s3://others");
  EXPECT_THAT(r.Get(resources::kConfigMap, kConfig)["data"]["config.json"].get<std::string>(),
              HasSubstr("s3://others"));
}

TEST_F(DatasetReconcilerTest, ABadEditOfABoundDatasetLeavesItServing) {
  r.CreatePair();
  r.Reconcile();
  const Json config = r.Get(resources::kConfigMap, kConfig);
  ASSERT_TRUE(
      cluster.MergePatch(resources::kDataset, kClaim,
                         Json::parse(R"({"spec":{"mounts":[{"mountPoint":"ftp://nowhere"}]}})")));
  EXPECT_EQ(r.Reconcile(), 20);
  EXPECT_EQ(r.Phase(), "Bound");
  EXPECT_THAT(r.Condition("UpdateReady"), HasSubstr("False DatasetUpdating: "));
  EXPECT_EQ(r.Condition("Ready"), "True DatasetReady: The ddc runtime is ready.");
  EXPECT_EQ(r.Get(resources::kConfigMap, kConfig)["data"], config["data"]);
}

TEST_F(DatasetReconcilerTest, FieldsWithoutEffectAreReportedOnce) {
  r.Create(resources::kDataset, ReconcileFixture::Dataset());
  Json runtime = ReconcileFixture::Runtime();
  runtime["spec"]["fuse"]["options"]["speed"] = "high";
  r.Create(resources::kSluiceRuntime, runtime);
  r.Reconcile();
  EXPECT_THAT(r.TakeEvents(), Contains("SluiceRuntime ErrorValidateSpecFields"));
  const Json status = r.GetRuntime()["status"];
  EXPECT_THAT(status["conditions"].dump(), HasSubstr("spec.fuse.options.speed: not known"));
  r.Reconcile();
  EXPECT_THAT(r.TakeEvents(), IsEmpty());
}

TEST_F(DatasetReconcilerTest, NeverTakesObjectsOfOthers) {
  r.CreatePair();
  r.Create(resources::kPersistentVolumeClaim,
           {{"metadata", {{"name", "demo"}, {"namespace", "default"}}},
            {"spec", {{"volumeName", "precious"}}}});
  EXPECT_EQ(r.Reconcile(), 20);
  EXPECT_EQ(r.Phase(), "NotBound");
  EXPECT_THAT(r.Condition("NotReady"),
              HasSubstr("PersistentVolumeClaim default/demo exists already"));
  EXPECT_EQ(r.Get(resources::kPersistentVolumeClaim, kClaim)["spec"]["volumeName"], "precious");
  // Nor does it delete them.
  ASSERT_TRUE(cluster.Delete(resources::kDataset, kClaim));
  for (int i = 0; i < 5; ++i) r.Reconcile();
  EXPECT_THAT(Existing(), ElementsAre("PersistentVolumeClaim"));
}

TEST_F(DatasetReconcilerTest, ARefusedObjectBecomesACondition) {
  r.CreatePair();
  cluster.OnRequest([](const std::string& request) -> Status {
    if (request.starts_with("apply daemonsets")) {
      return Fail(Code::kPermissionDenied, "apply daemonsets.apps: forbidden by policy");
    }
    return Ok();
  });
  EXPECT_EQ(r.Reconcile(), 20);
  EXPECT_EQ(r.Phase(), "NotBound");
  EXPECT_THAT(r.Condition("NotReady"), HasSubstr("forbidden by policy"));
  cluster.OnRequest({});
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  // Bound, and then refused: failed until it works again.
  cluster.OnRequest([](const std::string& request) -> Status {
    if (request.starts_with("apply daemonsets")) return Fail(Code::kPermissionDenied, "no");
    return Ok();
  });
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Failed");
  EXPECT_THAT(r.Condition("Ready"), HasSubstr("False DatasetReady"));
  cluster.OnRequest({});
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
}

TEST_F(DatasetReconcilerTest, ATransientErrorIsReturnedAndChangesNoStatus) {
  r.CreatePair();
  cluster.OnRequest([](const std::string& request) -> Status {
    if (request.starts_with("apply persistentvolumes")) return Fail(Code::kUnavailable, "down");
    return Ok();
  });
  ReconcileFixture other(cluster);
  auto next = [&] {
    platform::Metrics metrics;
    ManualClock clock;
    LiveSource source(cluster);
    DatasetReconciler reconciler(NativeProfile(), {.fuse_image = "i"}, {},
                                 {.cluster = cluster,
                                  .known = source,
                                  .clock = clock,
                                  .emit = [](const PlannedEvent&) {},
                                  .make_secret = [] { return std::string("password"); },
                                  .log = platform::Log("test", platform::LogLevel::kError),
                                  .metrics = metrics});
    return reconciler.Reconcile({"default", "demo"});
  }();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, Code::kUnavailable);
  EXPECT_EQ(r.Phase(), "none");
}

TEST_F(DatasetReconcilerTest, DeletingADatasetLeavesNothingBehind) {
  r.CreatePair();
  r.Create(resources::kNode,
           {{"metadata",
             {{"name", "n1"}, {"labels", {{"fluid.io/f-default-demo", "true"}, {"keep", "me"}}}}}});
  r.Reconcile();
  ASSERT_TRUE(cluster.Delete(resources::kDataset, kClaim));
  Settle();
  EXPECT_THAT(Existing(), IsEmpty());
  EXPECT_EQ(r.Get(resources::kNode, {"", "n1"})["metadata"]["labels"], Json({{"keep", "me"}}));
}

struct User {
  const char* name;
  const char* volume;
  const char* phase;
  bool in_use;
};
class UsedByPodTest : public DatasetReconcilerTest, public testing::WithParamInterface<User> {};

TEST_P(UsedByPodTest, DecidesWhetherTheDatasetMayGo) {
  r.CreatePair();
  r.Reconcile();
  r.TakeEvents();
  CreatePod(Json::parse(GetParam().volume), GetParam().phase);
  ASSERT_TRUE(cluster.Delete(resources::kDataset, kClaim));
  const long next = r.Reconcile();
  if (!GetParam().in_use) {
    Settle();
    EXPECT_THAT(Existing(), IsEmpty());
    return;
  }
  EXPECT_EQ(next, 10);
  EXPECT_THAT(r.TakeEvents(), ElementsAre("Dataset ErrorDeleteDataset"));
  EXPECT_EQ(Existing().size(), 7U) << "nothing may be touched while it is used";
  ASSERT_TRUE(cluster.Delete(resources::kPod, {"default", "app"}));
  Settle();
  EXPECT_THAT(Existing(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Table, UsedByPodTest,
    testing::Values(
        User{"ByClaim", R"({"name":"v","persistentVolumeClaim":{"claimName":"demo"}})", "Running",
             true},
        User{"Pending", R"({"name":"v","persistentVolumeClaim":{"claimName":"demo"}})", "Pending",
             true},
        User{"Sidecar", R"({"name":"v","hostPath":{"path":"/runtime-mnt/sluice/default/demo/x"}})",
             "Running", true},
        User{"Succeeded", R"({"name":"v","persistentVolumeClaim":{"claimName":"demo"}})",
             "Succeeded", false},
        User{"OtherClaim", R"({"name":"v","persistentVolumeClaim":{"claimName":"demo2"}})",
             "Running", false},
        User{"OtherPath", R"({"name":"v","hostPath":{"path":"/runtime-mnt/sluice/default/demo2"}})",
             "Running", false}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(DatasetReconcilerTest, DeletingTheRuntimeUnbindsTheDataset) {
  r.CreatePair();
  r.Reconcile();
  ASSERT_TRUE(cluster.Delete(resources::kSluiceRuntime, kClaim));
  for (int i = 0; i < 6; ++i) r.Reconcile();
  EXPECT_THAT(Existing(), ElementsAre("Dataset"));
  EXPECT_EQ(r.Phase(), "NotBound");
  const Json status = r.GetDataset()["status"];
  EXPECT_EQ(status["conditions"], Json::array());
  EXPECT_EQ(status["runtimes"], Json::array());
  EXPECT_FALSE(status.contains("cacheStates"));
  EXPECT_FALSE(status.contains("mounts"));
  // And it can be bound anew.
  r.Create(resources::kSluiceRuntime, ReconcileFixture::Runtime());
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
}

TEST_F(DatasetReconcilerTest, AClaimProtectedWithoutUsersIsFreedAfterHalfAMinute) {
  r.CreatePair();
  r.Reconcile();
  ASSERT_TRUE(cluster.MergePatch(
      resources::kPersistentVolumeClaim, kClaim,
      {{"metadata", {{"finalizers", Json::array({"kubernetes.io/pvc-protection"})}}}}));
  ASSERT_TRUE(cluster.Delete(resources::kDataset, kClaim));
  r.Reconcile();
  r.Reconcile();
  EXPECT_TRUE(r.Get(resources::kPersistentVolumeClaim, kClaim).is_object());
  r.Time().Advance(std::chrono::seconds(40));
  Settle();
  EXPECT_THAT(Existing(), IsEmpty());
}

TEST_F(DatasetReconcilerTest, ADatasetThatOthersReferToStays) {
  r.CreatePair();
  r.Reconcile();
  r.TakeEvents();
  r.Create(resources::kDataset, ReconcileFixture::Dataset("view"));
  ASSERT_TRUE(cluster.MergePatch(resources::kDataset, kClaim,
                                 {{"status", {{"datasetRef", Json::array({"default/view"})}}}}));
  ASSERT_TRUE(cluster.Delete(resources::kDataset, kClaim));
  EXPECT_EQ(r.Reconcile(), 10);
  EXPECT_THAT(r.TakeEvents(), ElementsAre("Dataset ErrorDeleteDataset"));
  ASSERT_TRUE(cluster.Delete(resources::kDataset, {"default", "view"}));
  Settle();
  EXPECT_THAT(Existing(), IsEmpty());
}

TEST_F(DatasetReconcilerTest, SurvivesBeingCutOffAtAnyRequest) {
  // Setup and tear-down with the n-th request failing, for every n: the next rounds repair it.
  for (int cut = 1; cut < 40; ++cut) {
    test::FakeCluster fresh;
    ReconcileFixture round(fresh);
    round.CreatePair();
    int request = 0;
    fresh.OnRequest([&](const std::string&) -> Status {
      return ++request == cut ? Status(Fail(Code::kUnavailable, "cut")) : Ok();
    });
    platform::Metrics metrics;
    LiveSource source(fresh);
    DatasetReconciler reconciler(NativeProfile(), {.fuse_image = "i"}, {},
                                 {.cluster = fresh,
                                  .known = source,
                                  .clock = round.Time(),
                                  .emit = [](const PlannedEvent&) {},
                                  .make_secret = [] { return std::string("password"); },
                                  .log = platform::Log("test", platform::LogLevel::kError),
                                  .metrics = metrics});
    const ObjectKey key{"default", "demo"};
    for (int i = 0; i < 3; ++i) (void)reconciler.Reconcile(key);
    EXPECT_EQ(round.Phase(), "Bound") << "cut at request " << cut;
    request = 0;
    (void)fresh.Delete(resources::kDataset, key);
    (void)fresh.Delete(resources::kDataset, key);
    for (int i = 0; i < 12; ++i) (void)reconciler.Reconcile(key);
    EXPECT_TRUE(round.GetDataset().is_null()) << "cut at request " << cut;
    EXPECT_TRUE(round.Get(resources::kPersistentVolume, kVolume).is_null());
  }
}

}  // namespace
}  // namespace sluice::controller
