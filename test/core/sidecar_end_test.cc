#include "sluice/core/sidecar_end.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/engine_profile.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using EndAction = SidecarEnd::Action;

constexpr const char* kOptOut = "example.com/keep";

Json Container(const std::string& name) { return {{"name", name}, {"image", "i"}}; }

Json Running(const std::string& name) {
  return {{"name", name}, {"state", {{"running", {{"startedAt", "2026-01-01T00:00:00Z"}}}}}};
}
Json Waiting(const std::string& name) {
  return {{"name", name},
          {"state", {{"waiting", {{"reason", "CrashLoopBackOff"}}}}},
          {"lastState", {{"terminated", {{"exitCode", 1}}}}}};
}
Json Ended(const std::string& name, int code) {
  return {{"name", name}, {"state", {{"terminated", {{"exitCode", code}}}}}};
}

// A thin sidecar and an application that has succeeded.
Json DonePod() {
  Json sidecar = Container("fluid-fuse-0");
  sidecar["env"] = Json::array({{{"name", "FLUID_FUSE_MOUNTPOINT"}, {"value", "/mnt/thin-fuse"}}});
  return {
      {"metadata",
       {{"name", "web"},
        {"namespace", "default"},
        {"labels", {{"done.sidecar.fluid.io/inject", "true"}, {"fluid.io/managed-by", "fluid"}}}}},
      {"spec",
       {{"restartPolicy", "Never"}, {"containers", Json::array({sidecar, Container("app")})}}},
      {"status",
       {{"phase", "Running"},
        {"containerStatuses", Json::array({Running("fluid-fuse-0"), Ended("app", 0)})}}}};
}

struct Case {
  const char* name;
  void (*change)(Json& pod);
  EndAction action;
  const char* reason;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class SidecarEndTest : public testing::TestWithParam<Case> {};

TEST_P(SidecarEndTest, DecidesByThePod) {
  Json pod = DonePod();
  GetParam().change(pod);
  const SidecarEnd end = DecideSidecarEnd(pod, kOptOut);
  EXPECT_EQ(end.action, GetParam().action);
  EXPECT_EQ(end.reason, GetParam().reason);
  EXPECT_EQ(end.commands.empty() && end.no_command.empty(), end.action != EndAction::kEnd);
}

Json& Labels(Json& pod) { return pod["metadata"]["labels"]; }
Json& Statuses(Json& pod) { return pod["status"]["containerStatuses"]; }

void AddContainer(Json& pod, Json container, Json status) {
  pod["spec"]["containers"].push_back(std::move(container));
  Statuses(pod).push_back(std::move(status));
}

const Case kCases[] = {
    {"Succeeded", [](Json&) {}, EndAction::kEnd, "application_done"},
    {"FailedForGood", [](Json& pod) { Statuses(pod)[1] = Ended("app", 1); }, EndAction::kEnd,
     "application_done"},
    {"OnFailureAndSucceeded", [](Json& pod) { pod["spec"]["restartPolicy"] = "OnFailure"; },
     EndAction::kEnd, "application_done"},
    {"OnFailureAndFailed",
     [](Json& pod) {
       pod["spec"]["restartPolicy"] = "OnFailure";
       Statuses(pod)[1] = Ended("app", 1);
     },
     EndAction::kWait, "application_runs"},
    {"OnFailureAndBackingOff",
     [](Json& pod) {
       pod["spec"]["restartPolicy"] = "OnFailure";
       Statuses(pod)[1] = Waiting("app");
     },
     EndAction::kWait, "application_runs"},
    {"OwnPolicyOfTheContainer",
     [](Json& pod) {
       pod["spec"]["containers"][1]["restartPolicy"] = "OnFailure";
       Statuses(pod)[1] = Ended("app", 1);
     },
     EndAction::kWait, "application_runs"},
    {"RuleOfTheContainerRestarts",
     [](Json& pod) {
       pod["spec"]["containers"][1]["restartPolicy"] = "Never";
       pod["spec"]["containers"][1]["restartPolicyRules"] = Json::array(
           {{{"action", "Restart"}, {"exitCodes", {{"operator", "In"}, {"values", {42}}}}}});
       Statuses(pod)[1] = Ended("app", 42);
     },
     EndAction::kWait, "application_runs"},
    {"RuleOfTheContainerSpeaksOfOtherCodes",
     [](Json& pod) {
       pod["spec"]["containers"][1]["restartPolicyRules"] = Json::array(
           {{{"action", "Restart"}, {"exitCodes", {{"operator", "In"}, {"values", {42}}}}}});
       Statuses(pod)[1] = Ended("app", 1);
     },
     EndAction::kEnd, "application_done"},
    {"ApplicationRuns", [](Json& pod) { Statuses(pod)[1] = Running("app"); }, EndAction::kWait,
     "application_runs"},
    {"OneOfTwoApplicationsRuns",
     [](Json& pod) { AddContainer(pod, Container("app2"), Running("app2")); }, EndAction::kWait,
     "application_runs"},
    {"BothApplicationsDone",
     [](Json& pod) { AddContainer(pod, Container("app2"), Ended("app2", 3)); }, EndAction::kEnd,
     "application_done"},
    {"ApplicationWithoutStatus", [](Json& pod) { Statuses(pod).erase(1); }, EndAction::kWait,
     "application_runs"},
    {"EndWithoutExitCode",
     [](Json& pod) { Statuses(pod)[1]["state"]["terminated"] = Json::object(); }, EndAction::kWait,
     "application_runs"},
    {"FluidsPrefetcherIsIgnored",
     [](Json& pod) {
       AddContainer(pod, Container("fluid-file-prefetcher"), Running("fluid-file-prefetcher"));
     },
     EndAction::kEnd, "application_done"},
    {"OwnPrefetcherIsIgnored",
     [](Json& pod) { AddContainer(pod, Container("sluice-prefetch"), Running("sluice-prefetch")); },
     EndAction::kEnd, "application_done"},
    {"NothingButSidecarAndPrefetcher",
     [](Json& pod) {
       pod["spec"]["containers"][1]["name"] = "sluice-prefetch";
       Statuses(pod)[1] = Ended("sluice-prefetch", 0);
     },
     EndAction::kWait, "no_application"},
    {"SidecarOfUnprivilegedPlatform",
     [](Json& pod) { Labels(pod)["unprivileged.sidecar.fluid.io/inject"] = "true"; },
     EndAction::kEnd, "application_done"},
    {"SidecarOfAnotherPlatform",
     [](Json& pod) { pod["metadata"]["annotations"]["serverless.fluid.io/platform"] = "acs"; },
     EndAction::kEnd, "application_done"},
    {"SidecarHasEnded", [](Json& pod) { Statuses(pod)[0] = Ended("fluid-fuse-0", 0); },
     EndAction::kWait, "sidecar_not_running"},
    {"SidecarIsRestarting", [](Json& pod) { Statuses(pod)[0] = Waiting("fluid-fuse-0"); },
     EndAction::kWait, "sidecar_not_running"},
    {"PodHasNotStarted", [](Json& pod) { pod["status"]["phase"] = "Pending"; }, EndAction::kWait,
     "not_running"},
    {"PodHasNoStatus", [](Json& pod) { pod.erase("status"); }, EndAction::kWait, "not_running"},
    {"PodHasSucceeded", [](Json& pod) { pod["status"]["phase"] = "Succeeded"; }, EndAction::kLeave,
     "pod_ended"},
    {"PodIsBeingDeleted",
     [](Json& pod) { pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"; },
     EndAction::kLeave, "being_deleted"},
    {"NotInjected", [](Json& pod) { Labels(pod).erase("done.sidecar.fluid.io/inject"); },
     EndAction::kLeave, "not_injected"},
    {"OptedOut", [](Json& pod) { Labels(pod)[kOptOut] = "false"; }, EndAction::kLeave, "opted_out"},
    {"RestartedAlways", [](Json& pod) { pod["spec"]["restartPolicy"] = "Always"; },
     EndAction::kLeave, "restarted_always"},
    {"RestartPolicyOfTheApiServer", [](Json& pod) { pod["spec"].erase("restartPolicy"); },
     EndAction::kLeave, "restarted_always"},
    {"NativeSidecar",
     [](Json& pod) {
       pod["spec"]["initContainers"] = Json::array({pod["spec"]["containers"][0]});
       pod["spec"]["containers"].erase(0);
     },
     EndAction::kLeave, "no_ordinary_sidecar"},
    {"NotAPod",
     [](Json& pod) {
       pod = Json::array({1, "x"});
     },
     EndAction::kLeave, "not_injected"},
    {"OddTypes",
     [](Json& pod) {
       pod["spec"]["containers"].push_back(7);
       Statuses(pod)[0]["state"] = "running";
       Statuses(pod)[1]["state"] = Json::array();
     },
     EndAction::kWait, "application_runs"},
};

INSTANTIATE_TEST_SUITE_P(Pods, SidecarEndTest, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(SidecarCommandTest, SeveralSidecarsEndInOrderAndThoseThatHaveEndedAreSkipped) {
  Json pod = DonePod();
  for (const char* name : {"fluid-fuse-1", "fluid-fuse-2", "fluid-fuse-3"}) {
    Json sidecar = Container(name);
    if (name != std::string("fluid-fuse-3")) {
      sidecar["lifecycle"]["preStop"]["exec"]["command"] = {"sh", "-c", name};
    }
    AddContainer(pod, sidecar,
                 name == std::string("fluid-fuse-1") ? Ended(name, 0) : Running(name));
  }
  const SidecarEnd end = DecideSidecarEnd(pod, "");
  ASSERT_EQ(end.commands.size(), 2U);
  EXPECT_EQ(end.commands[0].container, "fluid-fuse-0");
  EXPECT_THAT(end.commands[0].command, ElementsAre("umount", "/mnt/thin-fuse"));
  EXPECT_EQ(end.commands[1].container, "fluid-fuse-2");
  EXPECT_THAT(end.commands[1].command, ElementsAre("sh", "-c", "fluid-fuse-2"));
  EXPECT_THAT(end.no_command, ElementsAre("fluid-fuse-3"));
}

Json Mounting(const std::string& volume, const std::string& path) {
  Json container = Container("fluid-fuse-0");
  container["volumeMounts"] = Json::array(
      {{{"name", "cache"}, {"mountPath", "/c"}}, {{"name", volume}, {"mountPath", path}}});
  return container;
}

TEST(SidecarCommandTest, HookWinsOverVariableAndThatOverVolumes) {
  Json container = Mounting("juicefs-fuse-mount-0", "/runtime-mnt/juicefs/ns/d");
  EXPECT_THAT(EndCommandOf(container),
              ElementsAre("umount", "/runtime-mnt/juicefs/ns/d/juicefs-fuse"));
  container["env"] = Json::array({{{"name", "FLUID_FUSE_MOUNTPOINT"}, {"value", "/elsewhere"}}});
  EXPECT_THAT(EndCommandOf(container), ElementsAre("umount", "/elsewhere"));
  container["lifecycle"]["preStop"]["exec"]["command"] = {"/prestop.sh"};
  EXPECT_THAT(EndCommandOf(container), ElementsAre("/prestop.sh"));
}

TEST(SidecarCommandTest, FindsTheMountByItsVolume) {
  EXPECT_THAT(EndCommandOf(Mounting("thin-fuse-mount", "/m/")),
              ElementsAre("umount", "/m/thin-fuse"));
  EXPECT_THAT(EndCommandOf(Mounting("alluxio-fuse-mount-12", "/m")),
              ElementsAre("umount", "/m/alluxio-fuse"));
  EXPECT_THAT(EndCommandOf(Mounting("jindofs-fuse-mount-0", "/m")),
              ElementsAre("umount", "/m/jindofs-fuse"));
  for (const char* const other : {"-fuse-mount", "thin-fuse-mounts", "thin-fuse-device", ""}) {
    EXPECT_THAT(EndCommandOf(Mounting(other, "/m")), IsEmpty()) << other;
  }
  EXPECT_THAT(EndCommandOf(Mounting("thin-fuse-mount-0", "")), IsEmpty());
  EXPECT_THAT(EndCommandOf(Json("text")), IsEmpty());
}

// The shipped template: its image has nothing but the client.
TEST(SidecarCommandTest, OwnClientIsAskedThroughItsSocket) {
  Json container = NativeProfile().sidecar["spec"]["containers"][0];
  EXPECT_THAT(EndCommandOf(container),
              ElementsAre("/usr/bin/sluice-fuse", "--end", "--metrics=unix:/tmp/client.sock"));
  // Were there no socket, its mount is what is left to tell.
  container["args"] = Json::array({"--metrics=:9568"});
  EXPECT_THAT(EndCommandOf(container), ElementsAre("umount", "${mountDirectory}/sluice-fuse"));
}

}  // namespace
}  // namespace sluice
