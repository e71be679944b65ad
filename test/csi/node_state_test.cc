#include "sluice/csi/node_state.h"

#include <functional>
#include <ostream>

#include <gtest/gtest.h>

#include "sluice/csi/clean_policy.h"

namespace sluice::csi {
namespace {

using std::chrono::milliseconds;

struct StepCase {
  const char* name;
  MountFacts facts;
  MountStep step;
};
void PrintTo(const StepCase& c, std::ostream* out) { *out << c.name; }

MountFacts Facts(const std::function<void(MountFacts&)>& change) {
  MountFacts facts;  // a mount that is served and used
  facts.in_use = facts.mounted = facts.offered = facts.has_device = true;
  facts.client_connected = facts.ready = true;
  change(facts);
  return facts;
}

class NextStepTest : public testing::TestWithParam<StepCase> {};

TEST_P(NextStepTest, FollowsFromWhatIsSeen) {
  EXPECT_EQ(NextStep(GetParam().facts, {.recover_timeout = milliseconds(1000)}), GetParam().step);
}

INSTANTIATE_TEST_SUITE_P(
    Table, NextStepTest,
    testing::Values(
        StepCase{"Served", Facts([](MountFacts&) {}), MountStep::kNone},
        StepCase{"ClientAway", Facts([](MountFacts& f) { f.client_connected = f.ready = false; }),
                 MountStep::kNone},
        StepCase{"AfterRestart",
                 Facts([](MountFacts& f) { f.offered = f.has_device = f.ready = false; }),
                 MountStep::kAdopt},
        StepCase{"WaitsForDeposit", Facts([](MountFacts& f) {
                   f.has_device = f.ready = false;
                   f.without_device = milliseconds(999);
                 }),
                 MountStep::kNone},
        StepCase{"DepositNeverCame", Facts([](MountFacts& f) {
                   f.has_device = f.ready = false;
                   f.without_device = milliseconds(1000);
                 }),
                 MountStep::kReattach},
        StepCase{"SomebodyUnmounted", Facts([](MountFacts& f) { f.mounted = false; }),
                 MountStep::kReattach},
        StepCase{"UsedButNothingThere", Facts([](MountFacts& f) {
                   f.mounted = f.offered = f.has_device = f.ready = false;
                 }),
                 MountStep::kAttach},
        StepCase{"TargetsShowTheDeadMount", Facts([](MountFacts& f) { f.stale_targets = true; }),
                 MountStep::kRebind},
        StepCase{"TargetsWaitForTheClient", Facts([](MountFacts& f) {
                   f.stale_targets = true;
                   f.ready = false;
                 }),
                 MountStep::kNone},
        StepCase{"UnusedButLabelled", Facts([](MountFacts& f) {
                   f.in_use = false;
                   f.labelled = f.volume_exists = true;
                 }),
                 MountStep::kNone},
        StepCase{"LabelTaken", Facts([](MountFacts& f) {
                   f.in_use = false;
                   f.labelled = false;
                 }),
                 MountStep::kRemove},
        StepCase{"VolumeDeleted", Facts([](MountFacts& f) {
                   f.in_use = false;
                   f.volume_exists = false;
                 }),
                 MountStep::kRemove},
        StepCase{"LabelTakenButUsed", Facts([](MountFacts& f) { f.labelled = false; }),
                 MountStep::kNone},
        StepCase{"ClusterSilent", Facts([](MountFacts& f) { f.in_use = false; }), MountStep::kNone},
        StepCase{"LabelPendingAndMounted", Facts([](MountFacts& f) {
                   f.in_use = false;
                   f.unlabel_pending = true;
                 }),
                 MountStep::kRemove},
        StepCase{"LabelPendingAlone", Facts([](MountFacts& f) {
                   f.in_use = f.mounted = f.offered = false;
                   f.unlabel_pending = true;
                 }),
                 MountStep::kUnlabel},
        StepCase{"LabelPendingButUsed", Facts([](MountFacts& f) { f.unlabel_pending = true; }),
                 MountStep::kNone},
        StepCase{"RecordOfNothing",
                 Facts([](MountFacts& f) { f.in_use = f.mounted = f.offered = false; }),
                 MountStep::kRemove}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(SharedMountTest, SurvivesItsFileLessUnfinishedTargets) {
  SharedMount mount;
  mount.source = {.key = "ns-n",
                  .mount_point = "/runtime-mnt/sluice/ns/n/sluice-fuse",
                  .mount_type = "fuse.sluice",
                  .runtime = {"ns", "n"},
                  .node_label = "fluid.io/f-ns-n"};
  mount.reader_only = false;
  mount.unlabel_pending = true;
  mount.volumes = {"ns-n", "ns-view"};
  mount.targets["/t/1"] = {.volume_id = "ns-view",
                           .sub_path = "a/b",
                           .method = PublishMethod::kSymlink,
                           .read_only = true,
                           .complete = true};
  SharedMount saved = mount;
  saved.targets["/t/2"] = {.volume_id = "ns-n", .sub_path = "", .complete = false};
  const auto loaded = ParseSharedMount(RenderSharedMount(saved));
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(*loaded, mount);
  EXPECT_TRUE(loaded->UsedBy("ns-view"));
  EXPECT_FALSE(loaded->UsedBy("ns-n"));
  EXPECT_TRUE(loaded->UsedByOthers("ns-n"));
}

TEST(SharedMountTest, RefusesDamagedFiles) {
  EXPECT_FALSE(ParseSharedMount(Json::parse("[]")));
  EXPECT_FALSE(ParseSharedMount(Json::parse(R"({"version": 2})")));
  EXPECT_FALSE(ParseSharedMount(Json::parse(R"({"version": 1, "key": "a"})")));
}

struct PolicyCase {
  const char* name;
  UnstageFacts facts;
  UnstageAction action;
};
void PrintTo(const PolicyCase& c, std::ostream* out) { *out << c.name; }

UnstageFacts With(CleanPolicy policy, const std::function<void(UnstageFacts&)>& change = {}) {
  UnstageFacts facts;
  facts.policy = policy;
  if (change) change(facts);
  return facts;
}

class UnstageTest : public testing::TestWithParam<PolicyCase> {};

TEST_P(UnstageTest, FollowsTheCleanPolicy) {
  EXPECT_EQ(DecideUnstage(GetParam().facts), GetParam().action);
}

INSTANTIATE_TEST_SUITE_P(
    Table, UnstageTest,
    testing::Values(
        PolicyCase{"RuntimeDeletedKeeps", With(CleanPolicy::kOnRuntimeDeleted),
                   UnstageAction::kKeep},
        PolicyCase{"OnDemandCleans", With(CleanPolicy::kOnDemand),
                   UnstageAction::kDetachAndUnlabel},
        PolicyCase{"OnDemandInUse",
                   With(CleanPolicy::kOnDemand, [](UnstageFacts& f) { f.used_by_volume = true; }),
                   UnstageAction::kRefuse},
        PolicyCase{"OnDemandUsedByAnotherVolume",
                   With(CleanPolicy::kOnDemand, [](UnstageFacts& f) { f.used_by_others = true; }),
                   UnstageAction::kKeep},
        PolicyCase{"FuseUnchanged",
                   With(CleanPolicy::kOnFuseChanged,
                        [](UnstageFacts& f) { f.running_generation = f.wanted_generation = "1"; }),
                   UnstageAction::kKeep},
        PolicyCase{"FuseChanged",
                   With(CleanPolicy::kOnFuseChanged,
                        [](UnstageFacts& f) {
                          f.running_generation = "1";
                          f.wanted_generation = "2";
                        }),
                   UnstageAction::kDetachAndUnlabel},
        PolicyCase{
            "FuseGenerationUnknown",
            With(CleanPolicy::kOnFuseChanged, [](UnstageFacts& f) { f.wanted_generation = "2"; }),
            UnstageAction::kKeep},
        PolicyCase{
            "RuntimeGone",
            With(CleanPolicy::kOnRuntimeDeleted, [](UnstageFacts& f) { f.runtime_exists = false; }),
            UnstageAction::kDetach},
        PolicyCase{"RuntimeGoneButUsed",
                   With(CleanPolicy::kOnDemand,
                        [](UnstageFacts& f) {
                          f.runtime_exists = false;
                          f.used_by_others = true;
                        }),
                   UnstageAction::kKeep}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(CleanPolicyTest, EmptyMeansOnRuntimeDeletedAndUnknownIsAnError) {
  EXPECT_EQ(ParseCleanPolicy("").value(), CleanPolicy::kOnRuntimeDeleted);
  EXPECT_EQ(ParseCleanPolicy("OnDemand").value(), CleanPolicy::kOnDemand);
  EXPECT_FALSE(ParseCleanPolicy("Sometimes"));
}

}  // namespace
}  // namespace sluice::csi
