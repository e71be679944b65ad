#include "sluice/controller/sidecar_controller.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/controller/sidecar_reconciler.h"

#include "fake_cluster.h"
#include "fake_pod_exec.h"
#include "manual_clock.h"
#include "reconcile_fixture.h"

namespace sluice::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeCluster;
using test::FakePodExec;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ObjectKey kPodKey{"default", "web"};

Json SidecarContainer(const std::string& name) {
  return {{"name", name},
          {"image", "i"},
          {"env", Json::array({{{"name", "FLUID_FUSE_MOUNTPOINT"}, {"value", "/mnt/" + name}}})}};
}

Json ContainerRuns(const std::string& name) {
  return {{"name", name}, {"state", {{"running", Json::object()}}}};
}
Json ContainerEnded(const std::string& name, int code) {
  return {{"name", name}, {"state", {{"terminated", {{"exitCode", code}}}}}};
}

// Two sidecars and an application.
Json InjectedPod(Json application_status = ContainerEnded("app", 0)) {
  return {
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata",
       {{"name", "web"},
        {"namespace", "default"},
        {"labels", {{"done.sidecar.fluid.io/inject", "true"}, {"fluid.io/managed-by", "fluid"}}}}},
      {"spec",
       {{"restartPolicy", "Never"},
        {"containers", Json::array({SidecarContainer("fluid-fuse-1"),
                                    SidecarContainer("fluid-fuse-0"),
                                    {{"name", "app"}, {"image", "i"}}})}}},
      {"status",
       {{"phase", "Running"},
        {"containerStatuses",
         Json::array({ContainerRuns("fluid-fuse-1"), ContainerRuns("fluid-fuse-0"),
                      std::move(application_status)})}}}};
}

std::vector<std::string> ContainersOf(const FakePodExec& exec) {
  std::vector<std::string> names;
  for (const ExecRequest& request : exec.Requests()) names.push_back(request.container);
  return names;
}

class SidecarReconcilerTest : public testing::Test {
 protected:
  explicit SidecarReconcilerTest()
      : exec_([this](const ExecRequest& request) { return answer_(request); }) {}

  void SetUp() override { ASSERT_TRUE(cluster_.Create(resources::kPod, InjectedPod())); }
  void SetStatuses(Json statuses) {
    auto pod = cluster_.Get(resources::kPod, kPodKey);
    ASSERT_TRUE(pod);
    (*pod)["status"]["containerStatuses"] = std::move(statuses);
    ASSERT_TRUE(
        cluster_.MergePatch(resources::kPod, kPodKey, {{"status", (*pod)["status"]}}, "status"));
  }
  Result<std::optional<seconds>> Reconcile() { return reconciler_.Reconcile(kPodKey); }

  FakeCluster cluster_;
  LiveSource source_{cluster_};
  ManualClock clock_;
  platform::Metrics metrics_;
  FakePodExec::Answer answer_ = [](const ExecRequest&) { return ExecOutcome{}; };
  FakePodExec exec_;
  std::vector<PlannedEvent> events_;
  SidecarReconciler reconciler_{
      "",
      {.cluster = cluster_,
       .exec = exec_,
       .known = source_,
       .clock = clock_,
       .emit = [this](const PlannedEvent& event) { events_.push_back(event); },
       .log = platform::Log("test", platform::LogLevel::kError),
       .metrics = metrics_}};
};

TEST_F(SidecarReconcilerTest, EndsEverySidecarOnceAndLooksAgainLater) {
  auto next = Reconcile();
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(*next, kSidecarPatience);
  ASSERT_THAT(ContainersOf(exec_), ElementsAre("fluid-fuse-1", "fluid-fuse-0"));
  EXPECT_EQ(exec_.Requests()[0].pod, kPodKey);
  EXPECT_THAT(exec_.Requests()[0].command, ElementsAre("umount", "/mnt/fluid-fuse-1"));
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_FALSE(events_[0].warning);
  EXPECT_EQ(events_[0].reason, "FuseSidecarEnded");
  EXPECT_EQ(StringAt(events_[0].about, "/metadata/name"), "web");
  EXPECT_THAT(metrics_.Render(), HasSubstr(R"(sluice_sidecar_ends_total{result="ended"} 2)"));

  // Another change of the pod, before kubelet has noticed.
  ASSERT_TRUE(Reconcile());
  EXPECT_EQ(exec_.Requests().size(), 2U);
  // One did not end.
  SetStatuses(Json::array({ContainerEnded("fluid-fuse-1", 0), ContainerRuns("fluid-fuse-0"),
                           ContainerEnded("app", 0)}));
  clock_.Advance(kSidecarPatience);
  ASSERT_TRUE(Reconcile());
  EXPECT_THAT(ContainersOf(exec_), ElementsAre("fluid-fuse-1", "fluid-fuse-0", "fluid-fuse-0"));
}

TEST_F(SidecarReconcilerTest, DoesNothingWhileTheApplicationMayRunAgain) {
  SetStatuses(Json::array(
      {ContainerRuns("fluid-fuse-1"), ContainerRuns("fluid-fuse-0"), ContainerRuns("app")}));
  auto next = Reconcile();
  ASSERT_TRUE(next);
  EXPECT_FALSE(*next);
  EXPECT_THAT(exec_.Requests(), IsEmpty());
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(SidecarReconcilerTest, AFailureIsReturnedAndTheOthersAreEndedStill) {
  answer_ = [](const ExecRequest& request) -> Result<ExecOutcome> {
    if (request.container == "fluid-fuse-1") {
      return ExecOutcome{.exit_code = 32, .errors = "umount: /mnt: target is busy."};
    }
    return ExecOutcome{};
  };
  auto next = Reconcile();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, Code::kUnavailable);
  EXPECT_THAT(next.error().message, HasSubstr("fluid-fuse-1: exit code 32: umount: /mnt: target"));
  EXPECT_THAT(ContainersOf(exec_), ElementsAre("fluid-fuse-1", "fluid-fuse-0"));
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_TRUE(events_[0].warning);
  EXPECT_EQ(events_[0].reason, "FuseSidecarEndFailed");
  EXPECT_EQ(events_[1].reason, "FuseSidecarEnded");

  answer_ = [](const ExecRequest&) -> Result<ExecOutcome> {
    return Fail(Code::kUnavailable, "no route to kubelet");
  };
  next = Reconcile();
  ASSERT_FALSE(next);
  EXPECT_THAT(next.error().message, HasSubstr("no route to kubelet"));
  // Only the one that failed.
  EXPECT_THAT(ContainersOf(exec_), ElementsAre("fluid-fuse-1", "fluid-fuse-0", "fluid-fuse-1"));
}

TEST_F(SidecarReconcilerTest, AMountThatIsGoneAndAKilledCommandAreSuccess) {
  answer_ = [](const ExecRequest& request) {
    return request.container == "fluid-fuse-1"
               ? ExecOutcome{.exit_code = 32, .errors = "umount: /mnt: not mounted."}
               : ExecOutcome{.exit_code = 137};
  };
  auto next = Reconcile();
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(exec_.Requests().size(), 2U);
  EXPECT_EQ(events_.back().reason, "FuseSidecarEnded");
}

TEST_F(SidecarReconcilerTest, ASidecarWithoutACommandIsToldAndNotTriedAgain) {
  Json pod = InjectedPod();
  pod["metadata"]["name"] = "mute";
  for (int i : {0, 1}) pod["spec"]["containers"][i].erase("env");
  ASSERT_TRUE(cluster_.Create(resources::kPod, pod));
  auto next = reconciler_.Reconcile({"default", "mute"});
  ASSERT_TRUE(next);
  EXPECT_FALSE(*next);
  EXPECT_THAT(exec_.Requests(), IsEmpty());
  ASSERT_EQ(events_.size(), 2U);
  EXPECT_TRUE(events_[0].warning);
  EXPECT_THAT(events_[0].message, HasSubstr("fluid-fuse-1 tells no way to end it"));
}

TEST_F(SidecarReconcilerTest, APodOfTheSameNameIsAnotherPod) {
  ASSERT_TRUE(Reconcile());
  ASSERT_TRUE(cluster_.Delete(resources::kPod, kPodKey));
  // Its deletion may never have been seen alone.
  ASSERT_TRUE(cluster_.Create(resources::kPod, InjectedPod()));
  ASSERT_TRUE(Reconcile());
  EXPECT_EQ(exec_.Requests().size(), 4U);
  ASSERT_TRUE(cluster_.Delete(resources::kPod, kPodKey));
  auto next = Reconcile();
  ASSERT_TRUE(next);
  EXPECT_FALSE(*next);
}

// What the informer's snapshot still says does not count.
TEST_F(SidecarReconcilerTest, LooksAtThePodItselfBeforeItActs) {
  FakeCluster behind;
  ASSERT_TRUE(behind.Create(resources::kPod, InjectedPod()));
  const LiveSource old(behind);
  SidecarReconciler reconciler("", {.cluster = cluster_,
                                    .exec = exec_,
                                    .known = old,
                                    .clock = clock_,
                                    .emit = [](const PlannedEvent&) {},
                                    .log = platform::Log("test", platform::LogLevel::kError),
                                    .metrics = metrics_});
  SetStatuses(Json::array(
      {ContainerRuns("fluid-fuse-1"), ContainerRuns("fluid-fuse-0"), ContainerRuns("app")}));
  ASSERT_TRUE(reconciler.Reconcile(kPodKey));
  ASSERT_TRUE(cluster_.Delete(resources::kPod, kPodKey));
  ASSERT_TRUE(reconciler.Reconcile(kPodKey));
  EXPECT_THAT(exec_.Requests(), IsEmpty());
  ASSERT_TRUE(cluster_.Create(resources::kPod, InjectedPod()));
  cluster_.OnRequest([](const std::string&) { return Fail(Code::kUnavailable, "away"); });
  EXPECT_FALSE(reconciler.Reconcile(kPodKey));
}

// The whole: informer, queue, workers, events.
TEST(SidecarControllerTest, FollowsPodsAndTriesAgainWhatFailed) {
  FakeCluster cluster;
  std::atomic<int> calls{0};
  FakePodExec exec([&](const ExecRequest&) -> Result<ExecOutcome> {
    if (++calls <= 2) return Fail(Code::kUnavailable, "try again");
    return ExecOutcome{};
  });
  const SystemClock clock;
  platform::Metrics metrics;
  SidecarController controller(
      cluster, exec,
      {.opt_out_label = "example.com/keep", .queue = {.retry_base = milliseconds(5)}}, clock,
      platform::Log("test", platform::LogLevel::kError), metrics);
  Json kept = InjectedPod();
  kept["metadata"]["name"] = "kept";
  kept["metadata"]["labels"]["example.com/keep"] = "";
  ASSERT_TRUE(cluster.Create(resources::kPod, kept));
  Json foreign = InjectedPod();
  foreign["metadata"]["name"] = "foreign";
  foreign["metadata"]["labels"].erase("fluid.io/managed-by");
  ASSERT_TRUE(cluster.Create(resources::kPod, foreign));
  ASSERT_TRUE(cluster.Create(resources::kPod, InjectedPod(ContainerRuns("app"))));
  controller.Start();
  std::jthread running([&](const std::stop_token& stop) { controller.Run(stop); });
  const Json statuses = Json::array(
      {ContainerRuns("fluid-fuse-1"), ContainerRuns("fluid-fuse-0"), ContainerEnded("app", 1)});
  ASSERT_TRUE(cluster.MergePatch(resources::kPod, kPodKey,
                                 {{"status", {{"containerStatuses", statuses}}}}, "status"));
  ASSERT_TRUE(exec.AwaitRequests(4));
  EXPECT_EQ(controller.NotReadyReason(), "");
  running.request_stop();
  running.join();
  EXPECT_THAT(ContainersOf(exec),
              ElementsAre("fluid-fuse-1", "fluid-fuse-0", "fluid-fuse-1", "fluid-fuse-0"));
  std::vector<std::string> reasons;
  auto events = cluster.List(resources::kEvent, {});
  ASSERT_TRUE(events);
  for (const Json& event : events->items) {
    EXPECT_EQ(StringAt(event, "/involvedObject/name"), "web");
    reasons.push_back(StringAt(event, "/reason"));
  }
  EXPECT_THAT(reasons, testing::UnorderedElementsAre("FuseSidecarEndFailed", "FuseSidecarEndFailed",
                                                     "FuseSidecarEnded", "FuseSidecarEnded"));
}

}  // namespace
}  // namespace sluice::controller
