// The whole controller against a real API server with the shipped resource definitions.
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/controller/controller.h"
#include "sluice/kube/client.h"
#include "sluice/kube/informer.h"
#include "sluice/kube/lease.h"

#include "api_server.h"
#include "command.h"
#include "reconcile_fixture.h"

namespace sluice::controller {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds kPatience{30};

// API server, definitions and a running controller for all tests of the program.
class World : public testing::Environment {
 public:
  void SetUp() override {
    if (!test::ApiServer::Unavailable().empty()) return;
    auto started = test::ApiServer::Start();
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
    Status applied =
        server->ApplyManifests(std::filesystem::path(SLUICE_SOURCE_DIR) / "manifests" / "crds");
    ASSERT_TRUE(applied) << applied.error().message;
    cluster = Connected();
    controller = std::make_unique<Controller>(
        *cluster,
        ControllerOptions{.plan = {.fuse_image = "sluice:test"},
                          .timing = {.setup_retry = seconds(1),
                                     .no_dataset = seconds(1),
                                     .in_use = seconds(1),
                                     .tear_down = seconds(1),
                                     .scale_in = seconds(1)}},
        clock, platform::Log("test", platform::LogLevel::kWarn), metrics);
    controller->Start();
    running = std::jthread([this](const std::stop_token& stop) { controller->Run(stop); });
  }
  void TearDown() override {
    if (running.joinable()) {
      running.request_stop();
      running.join();
    }
    controller.reset();
    cluster.reset();
    server.reset();
  }
  std::unique_ptr<Cluster> Connected() {
    auto connected = kube::Connect(server->TokenConfig(), {}, metrics);
    return connected ? std::move(*connected) : nullptr;
  }

  SystemClock clock;
  platform::Metrics metrics;
  std::unique_ptr<test::ApiServer> server;
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<Controller> controller;
  std::jthread running;
};

World* const kWorld =  // NOLINT: GoogleTest owns environments
    static_cast<World*>(testing::AddGlobalTestEnvironment(new World));

class ControllerIntegrationTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!kWorld->server) GTEST_SKIP() << test::ApiServer::Unavailable();
  }
  Json Get(const ResourceType& type, const ObjectKey& key) {
    auto got = kWorld->cluster->Get(type, key);
    return got ? *got : Json();
  }
  // Polls until the object satisfies `done`; the last state of it.
  Json Until(const ResourceType& type, const ObjectKey& key,
             const std::function<bool(const Json&)>& done) {
    const auto deadline = steady_clock::now() + kPatience;
    Json object = Get(type, key);
    while (!done(object) && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      object = Get(type, key);
    }
    EXPECT_TRUE(done(object)) << object.dump(1);
    return object;
  }
  Json UntilPhase(const std::string& name, const std::string& phase) {
    return Until(resources::kDataset, {"default", name},
                 [&](const Json& dataset) { return StringAt(dataset, "/status/phase") == phase; });
  }
  void UntilGone(const ResourceType& type, const ObjectKey& key) {
    Until(type, key, [](const Json& object) { return object.is_null(); });
  }
  void Create(const ResourceType& type, const Json& object) {
    auto created = kWorld->cluster->Create(type, object);
    ASSERT_TRUE(created) << created.error().message;
  }
  void CreatePair(const std::string& name) {
    Create(resources::kDataset, ReconcileFixture::Dataset(name));
    Create(resources::kSluiceRuntime, ReconcileFixture::Runtime(name));
  }
  static std::vector<std::pair<ResourceType, ObjectKey>> ObjectsOf(const std::string& name) {
    return {{resources::kDataset, {"default", name}},
            {resources::kSluiceRuntime, {"default", name}},
            {resources::kPersistentVolume, {"", "default-" + name}},
            {resources::kPersistentVolumeClaim, {"default", name}},
            {resources::kConfigMap, {"default", name + "-fuse-config"}},
            {resources::kDaemonSet, {"default", name + "-fuse"}},
            {resources::kPodTemplate, {"default", name + "-fuse-sidecar"}}};
  }
};

TEST_F(ControllerIntegrationTest, BindsAndThenLeavesEveryObjectAlone) {
  Create(resources::kDataset, ReconcileFixture::Dataset("steady"));
  Json with_workers = ReconcileFixture::Runtime("steady");
  with_workers["spec"] = Json::parse(R"({"replicas":2,"worker":{"resources":{"limits":{"cpu":"2"}}},
      "tieredstore":{"levels":[{"mediumtype":"MEM","quota":"1536Mi"},
                               {"mediumtype":"SSD","path":"/ssd","quota":"10Gi"}]}})");
  Create(resources::kSluiceRuntime, with_workers);
  UntilPhase("steady", "Bound");
  // Rounds on demand: each edit of an annotation makes the controller look again. Their own writes
  // are the only changes of the Dataset; everything else must keep its resourceVersion.
  std::map<std::string, std::string> versions;
  const auto read_versions = [&] {
    std::map<std::string, std::string> read;
    auto objects = ObjectsOf("steady");
    objects.emplace_back(resources::kStatefulSet, ObjectKey{"default", "steady-worker"});
    objects.emplace_back(resources::kService, ObjectKey{"default", "steady-worker"});
    for (const auto& [type, key] : objects) {
      const Json object = Get(type, key);
      EXPECT_TRUE(object.is_object()) << type.kind;
      if (type != resources::kDataset) {
        read[type.kind] = StringAt(object, "/metadata/resourceVersion");
      }
    }
    return read;
  };
  SystemClock clock;
  test::FakeCluster unused;
  LiveSource source(*kWorld->cluster);
  DatasetReconciler reconciler(NativeProfile(), {.fuse_image = "sluice:test"}, {},
                               {.cluster = *kWorld->cluster,
                                .known = source,
                                .clock = clock,
                                .emit = [](const PlannedEvent&) {},
                                .make_secret = [] { return std::string("password"); },
                                .log = platform::Log("test", platform::LogLevel::kError),
                                .metrics = kWorld->metrics});
  // One round to take in what the server added (defaults, status), then nothing may move.
  ASSERT_TRUE(reconciler.Reconcile({"default", "steady"}));
  versions = read_versions();
  const std::string dataset_version =
      StringAt(Get(resources::kDataset, {"default", "steady"}), "/metadata/resourceVersion");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(reconciler.Reconcile({"default", "steady"}));
  EXPECT_EQ(read_versions(), versions);
  EXPECT_EQ(StringAt(Get(resources::kDataset, {"default", "steady"}), "/metadata/resourceVersion"),
            dataset_version);
}

TEST_F(ControllerIntegrationTest, BadInputIsToldAndCured) {
  Json dataset = ReconcileFixture::Dataset("bad");
  dataset["spec"]["mounts"][0]["mountPoint"] = "ftp://host/dir";
  Create(resources::kDataset, dataset);
  Create(resources::kSluiceRuntime, ReconcileFixture::Runtime("bad"));
  const Json told = Until(resources::kDataset, {"default", "bad"}, [](const Json& object) {
    return ValueAt(object, "/status/conditions/0/type") == "NotReady";
  });
  EXPECT_EQ(StringAt(told, "/status/phase"), "NotBound");
  EXPECT_THAT(StringAt(told, "/status/conditions/0/message"),
              testing::HasSubstr("spec.mounts[0].mountPoint"));
  // The event is about this very object.
  const auto deadline = steady_clock::now() + kPatience;
  bool found = false;
  while (!found && steady_clock::now() < deadline) {
    auto events = kWorld->cluster->List(
        resources::kEvent,
        {.ns = "default",
         .field_selector = "involvedObject.uid=" + StringAt(told, "/metadata/uid") +
                           ",reason=ErrorProcessDataset"});
    ASSERT_TRUE(events) << events.error().message;
    found = !events->items.empty();
  }
  EXPECT_TRUE(found);
  ASSERT_TRUE(kWorld->cluster->MergePatch(
      resources::kDataset, {"default", "bad"},
      {{"spec", {{"mounts", ReconcileFixture::Dataset()["spec"]["mounts"]}}}}));
  UntilPhase("bad", "Bound");
}

// A key without a value, as users leave it behind and as server-side apply sends it.
TEST_F(ControllerIntegrationTest, AnEmptiedFieldCountsAsAbsent) {
  auto user =
      kube::Connect(kWorld->server->TokenConfig(), {.field_manager = "user"}, kWorld->metrics);
  ASSERT_TRUE(user) << user.error().message;
  const auto apply = [&](const ResourceType& type, const Json& object) {
    auto applied = (*user)->Apply(type, object);
    EXPECT_TRUE(applied) << applied.error().message;
  };
  Json dataset = ReconcileFixture::Dataset("emptied");
  for (const char* field : {"sharedOptions", "sharedEncryptOptions", "owner", "nodeAffinity",
                            "tolerations", "accessModes", "dataRestoreLocation", "runtimes"}) {
    dataset["spec"][field] = nullptr;
  }
  apply(resources::kDataset, dataset);
  Json runtime = ReconcileFixture::Runtime("emptied");
  runtime["spec"]["fuse"] = {{"image", "custom:1"}};
  apply(resources::kSluiceRuntime, runtime);
  UntilPhase("emptied", "Bound");
  const auto until_image = [&](const std::string& image) {
    Until(resources::kDaemonSet, {"default", "emptied-fuse"}, [&](const Json& daemon_set) {
      return StringAt(daemon_set, "/spec/template/spec/containers/0/image") == image;
    });
  };
  until_image("custom:1");
  for (const char* field : {"fuse", "tieredstore", "podMetadata", "volumes", "imagePullSecrets"}) {
    runtime["spec"][field] = nullptr;
  }
  apply(resources::kSluiceRuntime, runtime);
  until_image("sluice:test");
  runtime["spec"] = nullptr;
  apply(resources::kSluiceRuntime, runtime);
}

TEST_F(ControllerIntegrationTest, DriftIsHealedByWatching) {
  CreatePair("drift");
  UntilPhase("drift", "Bound");
  ASSERT_TRUE(kWorld->cluster->Delete(resources::kDaemonSet, {"default", "drift-fuse"}));
  Until(resources::kDaemonSet, {"default", "drift-fuse"}, [](const Json& object) {
    return object.is_object() && StringAt(object, "/metadata/deletionTimestamp").empty();
  });
}

TEST_F(ControllerIntegrationTest, DeletionWaitsForPodsAndLeavesNothing) {
  CreatePair("gone");
  UntilPhase("gone", "Bound");
  Create(resources::kPod, Json::parse(R"({"metadata":{"name":"user","namespace":"default"},"spec":{
             "containers":[{"name":"c","image":"i"}],
             "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"gone"}}]}})"));
  Create(resources::kNode,
         {{"metadata", {{"name", "n1"}, {"labels", {{"fluid.io/f-default-gone", "true"}}}}}});
  ASSERT_TRUE(kWorld->cluster->Delete(resources::kDataset, {"default", "gone"}));
  // The refusal is an event on the Dataset.
  const auto deadline = steady_clock::now() + kPatience;
  bool refused = false;
  while (!refused && steady_clock::now() < deadline) {
    auto events = kWorld->cluster->List(
        resources::kEvent, {.ns = "default", .field_selector = "reason=ErrorDeleteDataset"});
    ASSERT_TRUE(events);
    refused = !events->items.empty();
  }
  EXPECT_TRUE(refused);
  EXPECT_TRUE(Get(resources::kPersistentVolumeClaim, {"default", "gone"}).is_object());
  ASSERT_TRUE(kWorld->cluster->Delete(resources::kPod, {"default", "user"}));
  for (const auto& [type, key] : ObjectsOf("gone")) UntilGone(type, key);
  EXPECT_FALSE(ValueAt(Get(resources::kNode, {"", "n1"}), "/metadata/labels")
                   .contains("fluid.io/f-default-gone"));
}

TEST_F(ControllerIntegrationTest, DeletingTheRuntimeUnbinds) {
  CreatePair("unbound");
  UntilPhase("unbound", "Bound");
  ASSERT_TRUE(kWorld->cluster->Delete(resources::kSluiceRuntime, {"default", "unbound"}));
  const Json dataset = UntilPhase("unbound", "NotBound");
  UntilGone(resources::kSluiceRuntime, {"default", "unbound"});
  UntilGone(resources::kPersistentVolumeClaim, {"default", "unbound"});
  EXPECT_EQ(ValueAt(dataset, "/status/conditions"), Json::array());
}

TEST_F(ControllerIntegrationTest, TheScaleSubresourceReadsTheReplicas) {
  CreatePair("scaled");
  UntilPhase("scaled", "Bound");
  auto scaled = kWorld->cluster->MergePatch(resources::kSluiceRuntime, {"default", "scaled"},
                                            {{"spec", {{"replicas", 3}}}}, "scale");
  ASSERT_TRUE(scaled) << scaled.error().message;
  Until(resources::kStatefulSet, {"default", "scaled-worker"},
        [](const Json& workers) { return ValueAt(workers, "/spec/replicas") == 3; });
  const Json secret = Get(resources::kSecret, {"default", "scaled-worker-auth"});
  EXPECT_TRUE(ValueAt(secret, "/data/users").is_string());
  // The list of those that answer follows the Service's endpoints.
  Create(resources::kEndpointSlice, Json::parse(R"({
    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
    "metadata": {"name": "scaled-worker-x", "namespace": "default", "labels": {
      "kubernetes.io/service-name": "scaled-worker", "app": "sluice", "release": "scaled"}},
    "addressType": "IPv4", "ports": [{"name": "memcached", "port": 11211}],
    "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true},
                   "targetRef": {"kind": "Pod", "name": "scaled-worker-0"}}]})"));
  Until(resources::kConfigMap, {"default", "scaled-fuse-config"}, [](const Json& config) {
    return StringAt(config, "/data/workers.json") ==
           R"({"workers":[{"address":"10.1.2.3:11211","name":"scaled-worker-0"}]})";
  });
  ASSERT_TRUE(kWorld->cluster->MergePatch(resources::kSluiceRuntime, {"default", "scaled"},
                                          {{"spec", {{"replicas", 0}}}}, "scale"));
  Until(resources::kConfigMap, {"default", "scaled-fuse-config"}, [](const Json& config) {
    return StringAt(config, "/data/workers.json") == R"({"workers":[]})";
  });
  Until(resources::kStatefulSet, {"default", "scaled-worker"},
        [](const Json& workers) { return ValueAt(workers, "/spec/replicas") == 0; });
  // Numbers below none are refused.
  EXPECT_FALSE(kWorld->cluster->MergePatch(resources::kSluiceRuntime, {"default", "scaled"},
                                           {{"spec", {{"replicas", -1}}}}));
}

TEST_F(ControllerIntegrationTest, TwoElectorsHaveOneLeaderAndHandOver) {
  const kube::LeaseOptions common{.lease = {"default", "election"}, .identity = "a"};
  kube::LeaseOptions other = common;
  other.identity = "b";
  kube::LeaderElector a(*kWorld->cluster, common, kWorld->clock,
                        platform::Log("test", platform::LogLevel::kError));
  kube::LeaderElector b(*kWorld->cluster, other, kWorld->clock,
                        platform::Log("test", platform::LogLevel::kError));
  auto held = a.TryHold();
  ASSERT_TRUE(held) << held.error().message;
  EXPECT_TRUE(*held);
  auto refused = b.TryHold();
  ASSERT_TRUE(refused);
  EXPECT_FALSE(*refused);
  EXPECT_TRUE(*a.TryHold()) << "renewed";
  ASSERT_TRUE(a.Release());
  EXPECT_TRUE(*b.TryHold());
}

// There is no kubelet here, so every command fails: told on the pod, and tried again.
TEST_F(ControllerIntegrationTest, TheOtherRoleTellsOnThePodThatASidecarCannotBeEnded) {
  const platform::UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  test::Process program({SLUICE_BIN_DIR "/sluice-controller", "--role", "fluidapp", "--kubeconfig",
                         kWorld->server->Kubeconfig(), "--metrics-addr", "127.0.0.1:0",
                         "--leader-elect-namespace", "default"},
                        {}, nowhere.Get());
  Create(resources::kPod, Json::parse(R"({
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "done", "namespace": "default", "labels": {
      "fluid.io/managed-by": "fluid", "done.sidecar.fluid.io/inject": "true"}},
    "spec": {"restartPolicy": "Never", "automountServiceAccountToken": false, "containers": [
      {"name": "fluid-fuse-0", "image": "i", "lifecycle": {"preStop": {"exec": {"command": ["/stop.sh"]}}}},
      {"name": "app", "image": "i"}]}})"));
  auto patched = kWorld->cluster->MergePatch(resources::kPod, {"default", "done"}, Json::parse(R"({
    "status": {"phase": "Running", "containerStatuses": [
      {"name": "fluid-fuse-0", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
       "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
      {"name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
       "state": {"terminated": {"exitCode": 0}}}]}})"),
                                             "status");
  ASSERT_TRUE(patched) << patched.error().message;
  Json event = Json::object();
  const auto deadline = steady_clock::now() + kPatience;
  while (steady_clock::now() < deadline && event.value("count", 0) < 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    auto events = kWorld->cluster->List(
        resources::kEvent, {.ns = "default", .field_selector = "involvedObject.name=done"});
    ASSERT_TRUE(events) << events.error().message;
    if (!events->items.empty()) event = events->items.front();
  }
  EXPECT_GE(event.value("count", 0), 2) << event.dump(1);
  EXPECT_EQ(event.value("reason", ""), "FuseSidecarEndFailed");
  EXPECT_THAT(event.value("message", ""),
              testing::HasSubstr("\"/stop.sh\" in container fluid-fuse-0 "
                                 "failed: exec in pods default/done"));
  EXPECT_THAT(event.value("message", ""), testing::HasSubstr("does not have a host assigned"));
  EXPECT_FALSE(StringAt(Get(resources::kLease, {"default", "fluidapp.data.fluid.io"}),
                        "/spec/holderIdentity")
                   .empty());
}

TEST_F(ControllerIntegrationTest, TheProgramEndsBeforeItsLeaseDoes) {
  const platform::UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  test::Process program({SLUICE_BIN_DIR "/sluice-controller", "--kubeconfig",
                         kWorld->server->Kubeconfig(), "--fuse-image", "sluice:test",
                         "--metrics-addr", "127.0.0.1:0", "--leader-elect-namespace", "default"},
                        {}, nowhere.Get());
  // Renewed once: before that the program may not have learnt yet that it holds the lease.
  Until(resources::kLease, {"default", "dataset.data.fluid.io"}, [](const Json& lease) {
    return !StringAt(lease, "/spec/holderIdentity").empty() &&
           StringAt(lease, "/spec/renewTime") != StringAt(lease, "/spec/acquireTime");
  });
  kWorld->server->Stall();
  // The lease lasts 15 s; a client with an ordinary deadline would go on for 30.
  const int status = program.Wait(std::chrono::seconds(22));
  kWorld->server->Resume();
  EXPECT_EQ(status, 1);
}

}  // namespace
}  // namespace sluice::controller
