// Cache workers in the plan of a runtime: sizes and arguments of memcached, placement, the clients'
// list. The objects as a whole are goldens of runtime_plan_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sluice/core/json_access.h"
#include "sluice/core/runtime_plan.h"

namespace sluice {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Json DatasetOf(const char* spec = R"({"mounts":[{"mountPoint":"s3://models"}]})") {
  return {{"metadata", {{"name", "demo"}, {"namespace", "ns"}, {"uid", "u"}}},
          {"spec", Json::parse(spec)}};
}
Json RuntimeOf(const char* spec) {
  return {{"metadata", {{"name", "demo"}, {"namespace", "ns"}, {"uid", "r"}}},
          {"spec", Json::parse(spec)}};
}

Result<RuntimePlan> PlanWith(const Json& runtime, PoolState pool = {},
                             const Json& dataset = DatasetOf()) {
  static const PlanSettings kSettings{.fuse_image = "sluice:test",
                                      .worker_image = "memcached:test"};
  return PlanRuntime({.profile = NativeProfile(),
                      .dataset = dataset,
                      .runtime = runtime,
                      .settings = kSettings,
                      .pool = std::move(pool)});
}

Json Find(const RuntimePlan& plan, const ResourceType& type) {
  for (const PlannedObject& planned : plan.objects) {
    if (planned.type == type) return planned.object;
  }
  return {};
}

// The pod of the workers; null when there are none.
Json PodOf(const RuntimePlan& plan) {
  return ValueAt(Find(plan, resources::kStatefulSet), "/spec/template");
}
Json ServerOf(const RuntimePlan& plan) { return ValueAt(PodOf(plan), "/spec/containers/0"); }

std::string ArgsOf(const RuntimePlan& plan) {
  std::string text;
  const Json server = ServerOf(plan);
  for (const Json& arg : ItemsOf(server, "args")) text += " " + arg.get<std::string>();
  return text + " ";
}

struct WorkerSize {
  const char* name;
  const char* spec;
  const char* args;   // part of the server's arguments
  const char* limit;  // of its memory
  const char* note;   // part of a note; null: there are none
};
void PrintTo(const WorkerSize& size, std::ostream* out) { *out << size.name; }
class WorkerSizeTest : public testing::TestWithParam<WorkerSize> {};

TEST_P(WorkerSizeTest, GivesMemcachedWhatTheRuntimeSays) {
  const auto plan = PlanWith(RuntimeOf(GetParam().spec));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(ArgsOf(*plan), HasSubstr(GetParam().args));
  EXPECT_EQ(StringAt(ServerOf(*plan), "/resources/limits/memory"), GetParam().limit);
  if (GetParam().note != nullptr) {
    EXPECT_THAT(plan->notes, Contains(HasSubstr(GetParam().note)));
  } else {
    EXPECT_THAT(plan->notes, IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, WorkerSizeTest,
    testing::Values(
        WorkerSize{"Default", R"({"replicas":1})",
                   " -p 11211 -m 1024 -I 8m -t 4 -c 4096 -F -X -W -Y /etc/sluice-auth/users ",
                   "1142Mi", nullptr},
        WorkerSize{
            "MemoryTier",
            R"({"replicas":1,"tieredstore":{"levels":[{"mediumtype":"MEM","quota":"2Gi"}]}})",
            " -m 2048 ", "2220Mi", nullptr},
        WorkerSize{"LimitAlone",
                   R"({"replicas":1,"worker":{"resources":{"limits":{"memory":"4Gi"}}}})",
                   " -m 3830 ", "4Gi", nullptr},
        WorkerSize{"LimitAboveTheTier",
                   R"({"replicas":1,"worker":{"resources":{"limits":{"memory":"4Gi"}}},
                 "tieredstore":{"levels":[{"mediumtype":"MEM","quota":"2Gi"}]}})",
                   " -m 2048 ", "4Gi", nullptr},
        WorkerSize{"LimitOfTheTiersSize",
                   R"({"replicas":1,"worker":{"resources":{"limits":{"memory":"2Gi"}}},
                 "tieredstore":{"levels":[{"mediumtype":"MEM","quota":"2Gi"}]}})",
                   " -m 1884 ", "2Gi", "limits.memory: 2Gi holds 1884Mi of the 2Gi"},
        WorkerSize{"DiskInEmptyDir",
                   R"({"replicas":1,"tieredstore":{"levels":[
                 {"mediumtype":"SSD","volumeType":"emptyDir","quota":"100Gi"}]}})",
                   " -o ext_page_size=64,ext_wbuf_size=8,ext_threads=2,ext_item_size=8192,"
                   "ext_path=/cache/0/$(POD_NAME):102400M ",
                   "1206Mi", nullptr},
        WorkerSize{"DiskBesideMemory",
                   R"({"replicas":1,"tieredstore":{"levels":[{"mediumtype":"MEM","quota":"2Gi"},
                 {"mediumtype":"HDD","path":"/a,/b","quota":"2Gi"}]}})",
                   "ext_path=/cache/0/$(POD_NAME):1024M,ext_path=/cache/1/$(POD_NAME):1024M ",
                   "2284Mi", nullptr},
        WorkerSize{"DiskOfManyPages",
                   R"({"replicas":1,"tieredstore":{"levels":[
                 {"mediumtype":"HDD","volumeType":"emptyDir","quota":"10Ti"}]}})",
                   " -o ext_page_size=256,", "1206Mi", nullptr},
        WorkerSize{"ThreadsByCores",
                   R"({"replicas":1,"worker":{"resources":{"limits":{"cpu":"2500m"}}}})", " -t 3 ",
                   "1142Mi", nullptr},
        WorkerSize{"FewCores", R"({"replicas":1,"worker":{"resources":{"limits":{"cpu":1}}}})",
                   " -t 2 ", "1142Mi", nullptr},
        WorkerSize{"ManyCores", R"({"replicas":1,"worker":{"resources":{"limits":{"cpu":"16"}}}})",
                   " -t 4 ", "1142Mi", nullptr},
        WorkerSize{"Options",
                   R"({"replicas":1,"worker":{"options":{"threads":"8","connections":"9000"}}})",
                   " -t 8 -c 9000 ", "1142Mi", nullptr},
        WorkerSize{"Tls", R"({"replicas":1,"worker":{"options":{"tls":"true"}}})",
                   " -Y /etc/sluice-auth/users -Z -o ssl_chain_cert=/etc/sluice-tls/tls.crt,"
                   "ssl_key=/etc/sluice-tls/tls.key,ssl_ca_cert=/etc/sluice-tls/ca.crt,"
                   "ssl_verify_mode=2 ",
                   "1142Mi", nullptr},
        WorkerSize{"Encryption", R"({"replicas":1,"worker":{"options":{"encryption":"true"}}})",
                   " -Y ", "1142Mi", nullptr},
        WorkerSize{"FieldOfOtherRuntimes",
                   R"({"replicas":1,"worker":{"networkMode":"HostNetwork"}})", " -m ", "1142Mi",
                   "spec.worker.networkMode: has no effect"},
        WorkerSize{"UnknownOption", R"({"replicas":1,"worker":{"options":{"speed":"high"}}})",
                   " -m ", "1142Mi", "spec.worker.options.speed: not known; known: authentication"},
        WorkerSize{"ThirdTier",
                   R"({"replicas":1,"tieredstore":{"levels":[{"mediumtype":"MEM","quota":"2Gi"},
                 {"mediumtype":"MEM","quota":"3Gi"}]}})",
                   " -m 2048 ", "2220Mi", "spec.tieredstore.levels[1]: not used"}),
    [](const auto& row) { return std::string(row.param.name); });

struct BadWorker {
  const char* name;
  const char* spec;
  const char* message;
};
void PrintTo(const BadWorker& bad, std::ostream* out) { *out << bad.name; }
class BadWorkerTest : public testing::TestWithParam<BadWorker> {};

TEST_P(BadWorkerTest, IsRefusedWithFieldAndFix) {
  const auto plan = PlanWith(RuntimeOf(GetParam().spec));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::kInvalidArgument);
  EXPECT_THAT(plan.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadWorkerTest,
    testing::Values(
        BadWorker{"LimitTooSmall",
                  R"({"replicas":1,"worker":{"resources":{"limits":{"memory":"64Mi"}}}})",
                  "spec.worker.resources.limits.memory: 64Mi is too little; a cache worker needs "},
        BadWorker{"LimitNoQuantity",
                  R"({"replicas":1,"worker":{"resources":{"limits":{"memory":"x"}}}})",
                  "spec.worker.resources.limits.memory: \"x\" is no quantity"},
        BadWorker{"DiskWithoutQuota",
                  R"({"replicas":1,"tieredstore":{"levels":[{"mediumtype":"SSD","path":"/ssd"}]}})",
                  "spec.tieredstore.levels[0].quota: is missing; cache workers need a size"},
        BadWorker{"DiskTooSmall",
                  R"({"replicas":1,"tieredstore":{"levels":[
                {"mediumtype":"SSD","path":"/a,/b","quota":"300Mi"}]}})",
                  "spec.tieredstore.levels[0].quota: 150Mi for one path is too little"},
        BadWorker{"HostDiskWithoutPath",
                  R"({"replicas":1,"tieredstore":{"levels":[{"mediumtype":"SSD","quota":"1Gi"}]}})",
                  "spec.tieredstore.levels[0].path: is missing"},
        BadWorker{"HostDiskAtARelativePath",
                  R"({"replicas":1,"tieredstore":{"levels":[
                {"mediumtype":"SSD","path":"ssd","quota":"1Gi"}]}})",
                  "spec.tieredstore.levels[0].path: \"ssd\" is no absolute directory"},
        BadWorker{"HostDiskAboveItsPath",
                  R"({"replicas":1,"tieredstore":{"levels":[
                {"mediumtype":"SSD","path":"/ssd/../etc","quota":"1Gi"}]}})",
                  "spec.tieredstore.levels[0].path: \"/ssd/../etc\" is no absolute directory"},
        BadWorker{"MoreSizesThanPaths",
                  R"({"replicas":1,"tieredstore":{"levels":[
                {"mediumtype":"SSD","path":"/a","quotaList":"1Gi,2Gi"}]}})",
                  "spec.tieredstore.levels[0].quotaList: has 2 sizes for 1 paths"},
        BadWorker{"NoFlag", R"({"replicas":1,"worker":{"options":{"authentication":"maybe"}}})",
                  "spec.worker.options.authentication: \"maybe\" is neither"},
        BadWorker{"NoFlagOfTls", R"({"replicas":1,"worker":{"options":{"tls":"1"}}})",
                  "spec.worker.options.tls: \"1\" is neither"},
        BadWorker{"NoFlagOfEncryption",
                  R"({"replicas":1,"worker":{"options":{"encryption":"yes"}}})",
                  "spec.worker.options.encryption: \"yes\" is neither"},
        BadWorker{"NoCount", R"({"replicas":1,"worker":{"options":{"threads":"0"}}})",
                  "spec.worker.options.threads: \"0\" is no number from 1 to 64"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(WorkerPlanTest, RestrictedPodSecurityAdmitsThem) {
  const auto plan = PlanWith(RuntimeOf(R"({"replicas":2})"));
  ASSERT_TRUE(plan);
  const Json spec = PodOf(*plan)["spec"];
  EXPECT_EQ(ValueAt(spec, "/securityContext/runAsNonRoot"), true);
  EXPECT_EQ(StringAt(spec, "/securityContext/seccompProfile/type"), "RuntimeDefault");
  EXPECT_EQ(spec["automountServiceAccountToken"], false);
  EXPECT_FALSE(spec.contains("initContainers"));
  const Json server = ServerOf(*plan)["securityContext"];
  EXPECT_EQ(server["allowPrivilegeEscalation"], false);
  EXPECT_EQ(server["capabilities"]["drop"], Json::array({"ALL"}));
  EXPECT_EQ(server["readOnlyRootFilesystem"], true);
  for (const Json& volume : spec["volumes"]) EXPECT_FALSE(volume.contains("hostPath")) << volume;
}

TEST(WorkerPlanTest, NoWorkersAreDeployedUntilTheyAreAskedFor) {
  for (const char* spec : {"{}", R"({"replicas":0})", R"({"replicas":-1})",
                           R"({"replicas":2,"worker":{"disabled":true}})",
                           R"({"replicas":2,"worker":{"enabled":false}})"}) {
    const auto plan = PlanWith(RuntimeOf(spec));
    ASSERT_TRUE(plan) << spec;
    EXPECT_EQ(plan->workers, 0) << spec;
    EXPECT_TRUE(Find(*plan, resources::kStatefulSet).is_null()) << spec;
    EXPECT_TRUE(Find(*plan, resources::kService).is_null()) << spec;
    EXPECT_TRUE(plan->worker_secret.is_null()) << spec;
    // The clients are ready for workers that come later.
    EXPECT_EQ(plan->config.pool.members_file, "/etc/fluid/config/workers.json");
    EXPECT_EQ(plan->config.pool.credentials_file, "/etc/fluid/secrets/demo-worker-auth/users");
    EXPECT_EQ(StringAt(Find(*plan, resources::kConfigMap), "/data/workers.json"),
              R"({"workers":[]})");
  }
  // Those that were scaled to none keep their StatefulSet.
  const auto plan = PlanWith(RuntimeOf(R"({"replicas":0})"), {.exists = true, .ready = {}});
  ASSERT_TRUE(plan);
  EXPECT_EQ(ValueAt(Find(*plan, resources::kStatefulSet), "/spec/replicas"), 0);
}

TEST(WorkerPlanTest, WhatNobodyAsksForIsNoError) {
  const auto plan = PlanWith(RuntimeOf(R"({"worker":{"options":{"threads":"x","tls":"true"}}})"));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(plan->notes, IsEmpty());
}

TEST(WorkerPlanTest, TheListHasTheReadyOnesThatStay) {
  const PoolState pool{.exists = true,
                       .ready = {{"demo-worker-2", "10.0.0.3:11211"},
                                 {"demo-worker-0", "10.0.0.1:11211"},
                                 {"demo-worker-x", "10.0.0.4:11211"},
                                 {"other-worker-0", "10.0.0.5:11211"},
                                 {"demo-worker-0x", "10.0.0.6:11211"}}};
  const auto plan = PlanWith(RuntimeOf(R"({"replicas":2})"), pool);
  ASSERT_TRUE(plan);
  EXPECT_EQ(StringAt(Find(*plan, resources::kConfigMap), "/data/workers.json"),
            R"({"workers":[{"address":"10.0.0.1:11211","name":"demo-worker-0"}]})");
  // Nothing else knows the members, so that no pod is replaced when they change.
  const auto before = PlanWith(RuntimeOf(R"({"replicas":2})"), {.exists = true, .ready = {}});
  ASSERT_TRUE(before);
  for (const ResourceType& type : {resources::kDaemonSet, resources::kPodTemplate,
                                   resources::kStatefulSet, resources::kService}) {
    EXPECT_EQ(Find(*plan, type), Find(*before, type)) << type.kind;
  }
  EXPECT_EQ(ValueAt(Find(*plan, resources::kConfigMap), "/data/config.json"),
            ValueAt(Find(*before, resources::kConfigMap), "/data/config.json"));
}

TEST(WorkerPlanTest, ClientsGetThePasswordAsAFileOfAnOptionalSecret) {
  const auto plan = PlanWith(RuntimeOf(R"({"replicas":1})"));
  ASSERT_TRUE(plan);
  EXPECT_EQ(StringAt(plan->worker_secret, "/metadata/name"), "demo-worker-auth");
  EXPECT_EQ(StringAt(plan->worker_secret, "/metadata/ownerReferences/0/uid"), "r");
  EXPECT_FALSE(plan->worker_secret.contains("data"));
  const Json wanted = {{"name", "demo-worker-auth"},
                       {"optional", true},
                       {"items", {{{"key", "users"}, {"path", "demo-worker-auth/users"}}}}};
  for (const auto& [type, at] : {std::pair(resources::kDaemonSet, "/spec/template/spec/volumes"),
                                 std::pair(resources::kPodTemplate, "/template/spec/volumes")}) {
    std::vector<Json> secrets;
    const Json object = Find(*plan, type);
    for (const Json& volume : ValueAt(object, at)) {
      for (const Json& source : ValueAt(volume, "/projected/sources")) {
        secrets.push_back(source["secret"]);
      }
    }
    EXPECT_THAT(secrets, ElementsAre(wanted)) << type.kind;
  }
}

// The names of the Secrets that an object's pod has as files.
std::vector<std::string> SecretsOf(const Json& object) {
  const Json pod = object.contains("template") ? object : ChildOf(object, "spec");
  std::vector<std::string> names;
  for (const Json& volume : ValueAt(pod, "/template/spec/volumes")) {
    if (volume.contains("secret")) names.push_back(StringAt(volume, "/secret/secretName"));
    for (const Json& source : ValueAt(volume, "/projected/sources")) {
      names.push_back(StringAt(source, "/secret/name"));
      EXPECT_EQ(ValueAt(source, "/secret/optional"), true) << "no client waits for it";
    }
  }
  return names;
}

TEST(WorkerPlanTest, EachSideOfTlsGetsItsOwnKeyAndNobodyTheAuthoritys) {
  const auto plan = PlanWith(RuntimeOf(R"({"replicas":1,"worker":{"options":{"tls":"true"}}})"));
  ASSERT_TRUE(plan);
  ASSERT_TRUE(plan->tls);
  EXPECT_EQ(StringAt(plan->tls->authority, "/metadata/name"), "demo-worker-ca");
  EXPECT_EQ(StringAt(plan->tls->worker, "/metadata/name"), "demo-worker-tls");
  EXPECT_EQ(StringAt(plan->tls->client, "/metadata/name"), "demo-client-tls");
  EXPECT_EQ(plan->tls->domain, "demo-worker.ns.svc");
  for (const Json* secret : {&plan->tls->authority, &plan->tls->worker, &plan->tls->client}) {
    EXPECT_EQ(StringAt(*secret, "/metadata/ownerReferences/0/uid"), "r");
    EXPECT_FALSE(secret->contains("data"));
  }
  EXPECT_EQ(plan->config.pool.tls_directory, "/etc/fluid/secrets/demo-client-tls");
  EXPECT_EQ(plan->config.pool.tls_domain, "demo-worker.ns.svc");
  EXPECT_THAT(SecretsOf(Find(*plan, resources::kStatefulSet)),
              ElementsAre("demo-worker-auth", "demo-worker-tls"));
  for (const ResourceType& type : {resources::kDaemonSet, resources::kPodTemplate}) {
    EXPECT_THAT(SecretsOf(Find(*plan, type)), ElementsAre("demo-worker-auth", "demo-client-tls"))
        << type.kind;
  }
}

TEST(WorkerPlanTest, TheKeyOfChunksIsTheClientsAlone) {
  const auto plan = PlanWith(RuntimeOf(R"({"replicas":1,"worker":{"options":{"encryption":"true",
                             "authentication":"false"}}})"));
  ASSERT_TRUE(plan);
  EXPECT_EQ(StringAt(plan->pool_key, "/metadata/name"), "demo-pool-key");
  EXPECT_EQ(StringAt(plan->pool_key, "/metadata/ownerReferences/0/uid"), "r");
  EXPECT_EQ(plan->config.pool.key_file, "/etc/fluid/secrets/demo-pool-key/key");
  EXPECT_THAT(Find(*plan, resources::kStatefulSet).dump(), Not(HasSubstr("pool-key")));
  for (const ResourceType& type : {resources::kDaemonSet, resources::kPodTemplate}) {
    EXPECT_THAT(SecretsOf(Find(*plan, type)), ElementsAre("demo-pool-key")) << type.kind;
  }
  EXPECT_FALSE(plan->tls);
}

TEST(WorkerPlanTest, AuthenticationCanBeLeftOut) {
  const auto plan =
      PlanWith(RuntimeOf(R"({"replicas":1,"worker":{"options":{"authentication":"false"}}})"));
  ASSERT_TRUE(plan);
  EXPECT_THAT(ArgsOf(*plan), Not(HasSubstr(" -Y ")));
  EXPECT_TRUE(plan->worker_secret.is_null());
  EXPECT_EQ(plan->config.pool.credentials_file, "");
  for (const ResourceType& type :
       {resources::kDaemonSet, resources::kPodTemplate, resources::kStatefulSet}) {
    EXPECT_THAT(Find(*plan, type).dump(), Not(HasSubstr("demo-worker-auth"))) << type.kind;
  }
}

TEST(WorkerPlanTest, HostDirectoriesAreMadeTheServersOwnAndEmptiedAfterIt) {
  const auto plan = PlanWith(RuntimeOf(
      R"({"replicas":1,"tieredstore":{"levels":[{"mediumtype":"SSD","path":"/ssd","quota":"1Gi"}]}})"));
  ASSERT_TRUE(plan);
  const Json spec = PodOf(*plan)["spec"];
  EXPECT_EQ(StringAt(spec, "/volumes/1/hostPath/path"), "/ssd/ns/demo");
  EXPECT_EQ(spec["initContainers"][0]["command"],
            Json::array({"chown", "11211:11211", "/cache/0"}));
  EXPECT_EQ(spec["initContainers"][0]["securityContext"]["capabilities"],
            Json({{"drop", {"ALL"}}, {"add", {"CHOWN"}}}));
  EXPECT_EQ(spec["initContainers"][0]["volumeMounts"].size(), 1U) << "no password there";
  EXPECT_EQ(ValueAt(ServerOf(*plan), "/lifecycle/preStop/exec/command/2"),
            "rm -f /cache/*/\"$POD_NAME\"");
}

TEST(WorkerPlanTest, OnlyExclusiveDatasetsForbidToShareANode) {
  const char* const required =
      "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/"
      "labelSelector/matchExpressions/0";
  const auto shared = PlanWith(RuntimeOf(R"({"replicas":1})"));
  ASSERT_TRUE(shared);
  EXPECT_EQ(ValueAt(PodOf(*shared), required),
            Json::parse(R"({"key":"fluid.io/dataset-placement","operator":"In",
                            "values":["Exclusive"]})"));
  const auto exclusive =
      PlanWith(RuntimeOf(R"({"replicas":1})"), {},
               DatasetOf(R"({"mounts":[{"mountPoint":"s3://models"}],"placement":"Exclusive"})"));
  ASSERT_TRUE(exclusive);
  EXPECT_EQ(ValueAt(PodOf(*exclusive), required),
            Json::parse(R"({"key":"fluid.io/dataset","operator":"Exists"})"));
  EXPECT_EQ(StringAt(PodOf(*exclusive), "/metadata/labels/fluid.io~1dataset-placement"),
            "Exclusive");
}

}  // namespace
}  // namespace sluice
