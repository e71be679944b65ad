// Cache workers of a runtime over time, on the in-memory cluster: made, scaled, lost, removed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/json_access.h"

#include "reconcile_fixture.h"

namespace sluice::controller {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class WorkersTest : public testing::Test {
 protected:
  void CreatePair(int replicas, const Json& options = {}) {
    r.Create(resources::kDataset, ReconcileFixture::Dataset());
    Json runtime = ReconcileFixture::Runtime();
    runtime["spec"]["replicas"] = replicas;
    if (!options.is_null()) runtime["spec"]["worker"]["options"] = options;
    r.Create(resources::kSluiceRuntime, runtime);
  }
  void Scale(int replicas) {
    ASSERT_TRUE(
        cluster.MergePatch(resources::kSluiceRuntime, pair, {{"spec", {{"replicas", replicas}}}}));
  }
  // What the cluster's own controllers would do: `ready` of the StatefulSet's pods answer.
  void Answer(int ready) {
    Json endpoints = Json::array();
    const int replicas = Replicas();
    for (int i = replicas - 1; i >= 0; --i) {  // the cluster promises no order
      endpoints.push_back({{"addresses", {"10.0.0." + std::to_string(i + 1)}},
                           {"conditions", {{"ready", i < ready}}},
                           {"targetRef", {{"kind", "Pod"}, {"name", PodName(i)}}}});
    }
    const Json slice = {{"metadata",
                         {{"name", "demo-worker-abcde"},
                          {"namespace", "default"},
                          {"labels", {{"kubernetes.io/service-name", "demo-worker"}}}}},
                        {"addressType", "IPv4"},
                        {"ports", Json::array({{{"name", "memcached"}, {"port", 11211}}})},
                        {"endpoints", std::move(endpoints)}};
    (void)cluster.Delete(resources::kEndpointSlice, {"default", "demo-worker-abcde"});
    r.Create(resources::kEndpointSlice, slice);
    ASSERT_TRUE(cluster.MergePatch(
        resources::kStatefulSet, workers,
        {{"status",
          {{"replicas", replicas}, {"readyReplicas", ready}, {"availableReplicas", ready}}}},
        "status"));
  }
  static std::string PodName(int ordinal) { return "demo-worker-" + std::to_string(ordinal); }
  int Replicas() {
    const Json stateful_set = r.Get(resources::kStatefulSet, workers);
    const Json& replicas = ValueAt(stateful_set, "/spec/replicas");
    return replicas.is_number_integer() ? replicas.get<int>() : -1;
  }
  // Names in the clients' list.
  std::vector<std::string> Listed() {
    const Json document = Json::parse(
        StringAt(r.Get(resources::kConfigMap, config), "/data/workers.json"), nullptr, false);
    std::vector<std::string> names;
    for (const Json& worker : ItemsOf(document, "workers")) names.push_back(worker["name"]);
    return names;
  }
  Json Status() { return ValueAt(r.GetRuntime(), "/status"); }
  std::string RuntimeCondition(const std::string& type) {
    const Json status = Status();
    for (const Json& condition : ItemsOf(status, "conditions")) {
      if (condition["type"] == type) {
        return StringOf(condition, "status") + " " + StringOf(condition, "message");
      }
    }
    return "none";
  }

  const ObjectKey pair{"default", "demo"};
  const ObjectKey workers{"default", "demo-worker"};
  const ObjectKey password{"default", "demo-worker-auth"};
  const ObjectKey config{"default", "demo-fuse-config"};
  test::FakeCluster cluster;
  ReconcileFixture r{cluster};
};

TEST_F(WorkersTest, AreDeployedWithServiceAndPassword) {
  CreatePair(2);
  EXPECT_EQ(r.Reconcile(), 90);
  EXPECT_EQ(r.Phase(), "Bound") << "reads go to the origin meanwhile";
  EXPECT_EQ(Replicas(), 2);
  EXPECT_EQ(StringAt(r.Get(resources::kService, workers), "/spec/clusterIP"), "None");
  EXPECT_EQ(StringAt(r.Get(resources::kSecret, password), "/stringData/users"),
            "sluice:password-1\n");
  EXPECT_EQ(StringAt(r.Get(resources::kSecret, password), "/metadata/ownerReferences/0/kind"),
            "SluiceRuntime");
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_EQ(StringOf(Status(), "workerPhase"), "NotReady");
  EXPECT_EQ(Status()["desiredWorkerNumberScheduled"], 2);
  EXPECT_EQ(r.Condition("CacheReady"),
            "False WorkersNotReady: 0 of 2 cache workers are ready; what the others would hold is "
            "read from the origin.");
  EXPECT_EQ(RuntimeCondition("WorkersReady"), "False 0 of 2 cache workers are ready.");
  // The scale subresource's selector is that of the pods.
  const Json labels =
      ValueAt(r.Get(resources::kStatefulSet, workers), "/spec/template/metadata/labels");
  EXPECT_EQ(StringOf(Status(), "selector"), "app=" + StringOf(labels, "app") +
                                                ",release=" + StringOf(labels, "release") +
                                                ",role=" + StringOf(labels, "role"));
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime Succeed"));
}

TEST_F(WorkersTest, ReadyOnesAreListedAndNothingElseChanges) {
  CreatePair(2);
  r.Reconcile();
  const Json before = r.Get(resources::kConfigMap, config);
  const Json daemon_set = r.Get(resources::kDaemonSet, {"default", "demo-fuse"});
  Answer(1);
  r.Reconcile();
  EXPECT_THAT(Listed(), ElementsAre("demo-worker-0"));
  EXPECT_EQ(StringOf(Status(), "workerPhase"), "PartialReady");
  Answer(2);
  r.Reconcile();
  EXPECT_THAT(Listed(), ElementsAre("demo-worker-0", "demo-worker-1"));
  EXPECT_EQ(StringOf(Status(), "workerPhase"), "Ready");
  EXPECT_EQ(Status()["workerNumberReady"], 2);
  EXPECT_EQ(Status()["currentWorkerNumberScheduled"], 2);
  EXPECT_EQ(r.Condition("CacheReady"), "True WorkersReady: 2 of 2 cache workers are ready.");
  EXPECT_EQ(r.Get(resources::kConfigMap, config)["data"]["config.json"],
            before["data"]["config.json"]);
  EXPECT_EQ(r.Get(resources::kDaemonSet, {"default", "demo-fuse"}), daemon_set);
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime Succeed"));
  const auto writes = cluster.Writes();
  r.Reconcile();
  EXPECT_EQ(cluster.Writes(), writes);
}

TEST_F(WorkersTest, AddressesOfEitherFamilyAreWritten) {
  CreatePair(1);
  r.Reconcile();
  r.Create(resources::kEndpointSlice,
           Json::parse(R"({"metadata":{"name":"demo-worker-six","namespace":"default",
               "labels":{"kubernetes.io/service-name":"demo-worker"}},"addressType":"IPv6",
               "endpoints":[{"addresses":["fd00::7"],"targetRef":{"name":"demo-worker-0"}}]})"));
  r.Reconcile();
  EXPECT_THAT(StringAt(r.Get(resources::kConfigMap, config), "/data/workers.json"),
              HasSubstr(R"("address":"[fd00::7]:11211")"));
}

TEST_F(WorkersTest, ThePasswordIsMadeOnceAndNeverRead) {
  std::vector<std::string> asked;
  cluster.OnRequest([&](const std::string& request) -> sluice::Status {
    if (request.find(" secrets ") != std::string::npos) asked.push_back(request);
    return Ok();
  });
  CreatePair(1);
  r.Reconcile();
  r.Reconcile();
  EXPECT_THAT(asked, ElementsAre("create secrets default/demo-worker-auth",
                                 "create secrets default/demo-worker-auth"));
  EXPECT_EQ(StringAt(r.Get(resources::kSecret, password), "/stringData/users"),
            "sluice:password-1\n");
  asked.clear();
  Answer(1);
  r.Reconcile();
  EXPECT_THAT(asked, IsEmpty()) << "workers that run have it";
  // No object but the Secret has it.
  for (const auto& [type, key] : std::vector<std::pair<ResourceType, ObjectKey>>{
           {resources::kConfigMap, config},
           {resources::kStatefulSet, workers},
           {resources::kDaemonSet, {"default", "demo-fuse"}},
           {resources::kSluiceRuntime, pair}}) {
    EXPECT_THAT(r.Get(type, key).dump(), Not(HasSubstr("password-"))) << type.kind;
  }
  // Removed by hand and needed by a pod that starts: made anew.
  ASSERT_TRUE(cluster.Delete(resources::kSecret, password));
  Answer(0);
  r.Reconcile();
  EXPECT_TRUE(r.Get(resources::kSecret, password).is_object());
}

TEST_F(WorkersTest, CertificatesAreIssuedForBothSidesAndRenewed) {
  CreatePair(1, {{"tls", "true"}});
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  const ObjectKey authority{"default", "demo-worker-ca"};
  const ObjectKey worker{"default", "demo-worker-tls"};
  const ObjectKey client{"default", "demo-client-tls"};
  const Json first = r.Get(resources::kSecret, worker);
  EXPECT_TRUE(ValueAt(first, "/data/tls.key").is_string());
  EXPECT_TRUE(ValueAt(r.Get(resources::kSecret, client), "/data/tls.key").is_string());
  const std::string signing_key = StringAt(r.Get(resources::kSecret, authority), "/data/tls.key");
  EXPECT_FALSE(signing_key.empty());
  // Nothing has it as a volume, and nobody the keys but as files.
  for (const auto& [type, key] : std::vector<std::pair<ResourceType, ObjectKey>>{
           {resources::kConfigMap, config},
           {resources::kStatefulSet, workers},
           {resources::kDaemonSet, {"default", "demo-fuse"}},
           {resources::kPodTemplate, {"default", "demo-fuse-sidecar"}}}) {
    const std::string text = r.Get(type, key).dump();
    EXPECT_THAT(text, Not(HasSubstr("demo-worker-ca"))) << type.kind;
    EXPECT_THAT(text, Not(HasSubstr(signing_key))) << type.kind;
  }
  const auto writes = cluster.Writes();
  r.Reconcile();
  EXPECT_EQ(cluster.Writes(), writes);
  r.Time().Advance(std::chrono::days(300));
  r.Reconcile();
  EXPECT_NE(ValueAt(r.Get(resources::kSecret, worker), "/data/tls.crt"),
            ValueAt(first, "/data/tls.crt"));
  EXPECT_EQ(StringAt(r.Get(resources::kSecret, authority), "/data/tls.key"), signing_key);
}

TEST_F(WorkersTest, WithoutTheRightToReadSecretsTlsSaysWhatIsMissing) {
  cluster.OnRequest([](const std::string& request) -> sluice::Status {
    if (!request.starts_with("get secrets")) return Ok();
    return Fail(Code::kPermissionDenied, "secrets is forbidden");
  });
  CreatePair(1, {{"tls", "true"}});
  r.Reconcile();
  EXPECT_THAT(r.Condition("NotReady"), HasSubstr("dataset.workerTls of the chart"));
}

TEST_F(WorkersTest, TheKeyOfChunksIsMadeOnceAndNeverRead) {
  std::vector<std::string> asked;
  cluster.OnRequest([&](const std::string& request) -> sluice::Status {
    if (request.find("pool-key") != std::string::npos) asked.push_back(request);
    return Ok();
  });
  CreatePair(1, {{"encryption", "true"}});
  r.Reconcile();
  const ObjectKey key{"default", "demo-pool-key"};
  const Json made = r.Get(resources::kSecret, key);
  EXPECT_EQ(StringAt(made, "/stringData/key"), "password-2\n");
  EXPECT_EQ(StringAt(made, "/metadata/ownerReferences/0/kind"), "SluiceRuntime");
  r.Reconcile();
  EXPECT_EQ(r.Get(resources::kSecret, key), made);
  Answer(1);
  r.Reconcile();
  EXPECT_EQ(r.Get(resources::kSecret, key), made);
  std::erase(asked, "get secrets default/demo-pool-key");  // this test's
  EXPECT_THAT(asked, ElementsAre("create secrets default/demo-pool-key",
                                 "create secrets default/demo-pool-key",
                                 "create secrets default/demo-pool-key"));
}

TEST_F(WorkersTest, ScaleOutIsDoneAtOnce) {
  CreatePair(1);
  r.Reconcile();
  Answer(1);
  r.Reconcile();
  r.TakeEvents();
  Scale(3);
  EXPECT_EQ(r.Reconcile(), 90);
  EXPECT_EQ(Replicas(), 3);
  EXPECT_THAT(Listed(), ElementsAre("demo-worker-0"));
  EXPECT_EQ(RuntimeCondition("WorkersScaledOut"), "True The workers scaled out from 1 to 3.");
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime Succeed"));
  r.Reconcile();
  EXPECT_THAT(r.TakeEvents(), IsEmpty()) << "starting is no failure";
}

TEST_F(WorkersTest, ScaleInTakesWorkersFromTheListBeforeTheyEnd) {
  CreatePair(3);
  r.Reconcile();
  Answer(3);
  r.Reconcile();
  r.TakeEvents();
  Scale(1);
  EXPECT_EQ(r.Reconcile(), 10);
  EXPECT_THAT(Listed(), ElementsAre("demo-worker-0"));
  EXPECT_EQ(Replicas(), 3);
  EXPECT_THAT(r.TakeEvents(), IsEmpty());
  r.Time().Advance(seconds(4));
  EXPECT_EQ(r.Reconcile(), 6) << "other changes do not begin it anew";
  EXPECT_EQ(Replicas(), 3);
  r.Time().Advance(seconds(6));
  EXPECT_EQ(r.Reconcile(), 90);
  EXPECT_EQ(Replicas(), 1);
  EXPECT_FALSE(ValueAt(r.Get(resources::kStatefulSet, workers), "/metadata/annotations")
                   .contains("sluice.io/scale-in"));
  EXPECT_EQ(RuntimeCondition("WorkersScaledIn"), "True The workers scaled in from 3 to 1.");
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime Succeed"));
}

TEST_F(WorkersTest, AFurtherScaleInGivesTheNextOnesTheirTimeToo) {
  CreatePair(3);
  r.Reconcile();
  Answer(3);
  r.Reconcile();
  Scale(2);
  r.Reconcile();
  r.Time().Advance(seconds(9));
  Scale(1);
  EXPECT_EQ(r.Reconcile(), 10) << "demo-worker-1 was listed until now";
  EXPECT_EQ(Replicas(), 3);
  // Called back before it ended.
  r.Time().Advance(seconds(5));
  Scale(3);
  r.Reconcile();
  EXPECT_EQ(Replicas(), 3);
  EXPECT_THAT(Listed(), ElementsAre("demo-worker-0", "demo-worker-1", "demo-worker-2"));
  r.Time().Advance(seconds(60));
  r.Reconcile();
  EXPECT_EQ(Replicas(), 3);
}

TEST_F(WorkersTest, NoneIsANumberToo) {
  CreatePair(1);
  r.Reconcile();
  Answer(1);
  r.Reconcile();
  Scale(0);
  r.Reconcile();
  EXPECT_THAT(Listed(), IsEmpty());
  r.Time().Advance(seconds(10));
  r.Reconcile();
  EXPECT_EQ(Replicas(), 0);
  Answer(0);
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  EXPECT_EQ(StringOf(Status(), "workerPhase"), "Ready");
  EXPECT_EQ(r.Condition("CacheReady"), "none");
  Scale(2);
  r.Reconcile();
  EXPECT_EQ(Replicas(), 2);
}

TEST_F(WorkersTest, AWorkerThatIsLostIsToldOnceAndTheDatasetStaysBound) {
  CreatePair(2);
  r.Reconcile();
  Answer(2);
  r.Reconcile();
  r.TakeEvents();
  Answer(1);
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  EXPECT_THAT(Listed(), ElementsAre("demo-worker-0"));
  EXPECT_THAT(r.Condition("CacheReady"), HasSubstr("False WorkersNotReady: 1 of 2"));
  EXPECT_THAT(r.Condition("Ready"), HasSubstr("True DatasetReady"));
  EXPECT_THAT(r.TakeEvents(), ElementsAre("SluiceRuntime ErrorProcessRuntime"));
  r.Reconcile();
  EXPECT_THAT(r.TakeEvents(), IsEmpty());
}

TEST_F(WorkersTest, ReplicasAreHonoured) {
  CreatePair(2);
  r.Reconcile();
  EXPECT_EQ(RuntimeCondition("SpecHonored"), "none");
  EXPECT_THAT(r.TakeEvents(), Not(Contains("SluiceRuntime ErrorValidateSpecFields")));
}

TEST_F(WorkersTest, GoWithTheDataset) {
  CreatePair(2);
  r.Reconcile();
  Answer(2);
  r.Reconcile();
  ASSERT_TRUE(cluster.Delete(resources::kDataset, pair));
  for (int i = 0; i < 10; ++i) r.Reconcile();
  EXPECT_TRUE(r.GetDataset().is_null());
  EXPECT_TRUE(r.GetRuntime().is_null());
  EXPECT_TRUE(r.Get(resources::kStatefulSet, workers).is_null());
  EXPECT_TRUE(r.Get(resources::kService, workers).is_null());
  // The Secret follows its owner; the fake has no garbage collector.
}

TEST_F(WorkersTest, AStatefulSetOfSomebodyElseIsNotTouched) {
  const Json theirs = {{"metadata", {{"name", "demo-worker"}, {"namespace", "default"}}},
                       {"spec", {{"replicas", 7}}}};
  r.Create(resources::kStatefulSet, theirs);
  CreatePair(2);
  r.Reconcile();
  EXPECT_THAT(r.Condition("NotReady"), HasSubstr("StatefulSet default/demo-worker exists already"));
  // Without workers of our own there is nothing to complain about.
  Scale(0);
  r.Reconcile();
  EXPECT_EQ(r.Phase(), "Bound");
  ASSERT_TRUE(cluster.Delete(resources::kDataset, pair));
  for (int i = 0; i < 10; ++i) r.Reconcile();
  EXPECT_EQ(Replicas(), 7);
}

TEST_F(WorkersTest, SurviveBeingCutOffAtAnyRequest) {
  CreatePair(2);
  for (int cut = 1; cut < 30; ++cut) {
    Scale(cut % 4);
    int request = 0;
    cluster.OnRequest([&](const std::string&) -> sluice::Status {
      return ++request == cut ? sluice::Status(Fail(Code::kUnavailable, "cut")) : Ok();
    });
    (void)r.TryReconcile();
    cluster.OnRequest({});
    r.Time().Advance(seconds(11));
    r.Reconcile();
    r.Time().Advance(seconds(11));
    r.Reconcile();
    EXPECT_EQ(std::max(0, Replicas()), cut % 4) << "cut at request " << cut;
  }
}

}  // namespace
}  // namespace sluice::controller
