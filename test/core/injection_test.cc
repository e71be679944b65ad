// Bounds and properties of pod admission that no single golden shows.
#include "sluice/core/injection.h"

#include <random>

#include <gtest/gtest.h>

namespace sluice::injection {
namespace {

// Objects by kind and name.
class World {
 public:
  void Put(const std::string& kind, const std::string& ns, const std::string& name, Json object) {
    object["metadata"]["name"] = name;
    objects_[{kind, {ns, name}}] = std::make_shared<const Json>(std::move(object));
  }
  Lookup AsLookup() const {
    return [this](const ResourceType& type,
                  const ObjectKey& key) -> Result<std::shared_ptr<const Json>> {
      const auto found = objects_.find({type.kind, key});
      if (found == objects_.end()) return Fail(Code::kNotFound, "none");
      return found->second;
    };
  }
  // A bound thin dataset whose FUSE container mounts `claims` itself.
  void AddThin(const std::string& name, const std::vector<std::string>& claims) {
    Put("PersistentVolumeClaim", "ns", name,
        {{"metadata", {{"labels", {{"fluid.io/s-ns-" + name, "true"}}}}}});
    Json dataset;
    dataset["status"]["phase"] = "Bound";
    dataset["status"]["runtimes"] = Json::array({Json::object({{"type", "thin"}})});
    Put("Dataset", "ns", name, dataset);
    Put("ThinRuntime", "ns", name, Json::object());
    Json volume;
    volume["spec"]["csi"]["volumeAttributes"] = {
        {"fluid_path", "/runtime-mnt/thin/ns/" + name + "/thin-fuse"}, {"mount_type", "fuse.x"}};
    Put("PersistentVolume", "", "ns-" + name, volume);
    Json spec;
    Json mounts = Json::array({Json::object({{"name", "thin-fuse-mount"}, {"mountPath", "/m"}})});
    spec["volumes"] = Json::array({Json::object({{"name", "thin-fuse-mount"}})});
    for (const auto& claim : claims) {
      mounts.push_back(Json::object({{"name", "in-" + claim}, {"mountPath", "/" + claim}}));
      spec["volumes"].push_back(
          Json::object({{"name", "in-" + claim},
                        {"persistentVolumeClaim", Json::object({{"claimName", claim}})}}));
    }
    spec["containers"] =
        Json::array({Json::object({{"name", "fuse"}, {"image", "i"}, {"volumeMounts", mounts}})});
    Json set;
    set["spec"]["template"]["spec"] = spec;
    Put("DaemonSet", "ns", name + "-fuse", set);
  }

 private:
  std::map<std::pair<std::string, ObjectKey>, std::shared_ptr<const Json>> objects_;
};

Json PodUsing(const std::string& claim) {
  return Json::parse(R"({"metadata": {"labels": {"serverless.fluid.io/inject": "true"}},
      "spec": {"containers": [{"name": "app", "volumeMounts": [{"name": "v", "mountPath": "/d"}]}],
               "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": ")" +
                     claim + R"("}}]}})");
}

TEST(InjectionTest, InjectsWhatAFuseTemplateUsesItself) {
  World world;
  world.AddThin("outer", {"inner"});
  world.AddThin("inner", {});
  const Json pod = PodUsing("outer");
  auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
  ASSERT_TRUE(outcome.pod) << outcome.refusal->message;
  const Json& containers = (*outcome.pod)["spec"]["containers"];
  ASSERT_EQ(containers.size(), 3U);
  EXPECT_EQ(containers[0]["name"], "fluid-fuse-1");
  EXPECT_EQ(containers[1]["name"], "fluid-fuse-0");
  // The second round's helper volume finds its name taken.
  const Json& mounts = containers[1]["volumeMounts"];
  EXPECT_EQ(mounts.back()["name"], "fluid-fluid-mount-ready");
  // Only what the user asked for is listed.
  EXPECT_EQ((*outcome.pod)["metadata"]["annotations"]["fluid.io/datasets-in-use"], "outer");
}

// Profiles of an administrator's own, for pods in CSI mode.
class PluginChainTest : public testing::Test {
 protected:
  PluginChainTest() {
    world_.AddThin("a", {});
    with_dataset_ = PodUsing("a");
    with_dataset_["metadata"]["labels"] = {{"fuse.serverful.fluid.io/inject", "true"}};
    without_dataset_ = with_dataset_;
    without_dataset_["spec"].erase("volumes");
  }
  Outcome Run(const Json& pod, const std::vector<Plugin>& plugins) {
    Settings settings = DefaultSettings();
    settings.serverful = {.with_dataset = plugins, .without_dataset = plugins};
    return Inject({.pod = pod, .ns = "ns"}, world_.AsLookup(), settings);
  }
  World world_;
  Json with_dataset_;
  Json without_dataset_;
};

TEST_F(PluginChainTest, NodesWithoutCacheAreForPodsWithoutDatasets) {
  const auto outcome =
      Run(with_dataset_, {Plugin::kPreferNodesWithoutCache, Plugin::kMountPropagationInjector});
  ASSERT_TRUE(outcome.pod);
  const Json& spec = (*outcome.pod)["spec"];
  EXPECT_FALSE(spec.contains("affinity")) << spec.dump();
  EXPECT_EQ(spec["containers"][0]["volumeMounts"][0]["mountPropagation"], "HostToContainer");
}

TEST_F(PluginChainTest, EndsWithTheChoiceOfNodesWithoutCache) {
  // Has no image, so that it would fail.
  without_dataset_["metadata"]["annotations"] = {{"file-prefetcher.fluid.io/inject", "true"}};
  EXPECT_TRUE(Run(without_dataset_, {Plugin::kFilePrefetcher}).refusal);
  const auto outcome =
      Run(without_dataset_, {Plugin::kPreferNodesWithoutCache, Plugin::kFilePrefetcher});
  EXPECT_FALSE(outcome.refusal);
  ASSERT_TRUE(outcome.pod);
  EXPECT_TRUE((*outcome.pod)["spec"].contains("affinity"));
}

TEST_F(PluginChainTest, WritesNoEmptyListOfDatasets) {
  EXPECT_FALSE(Run(without_dataset_, {Plugin::kDatasetUsageInjector}).pod);
}

TEST(InjectionTest, GivesUpOnTemplatesThatUseEachOther) {
  World world;
  world.AddThin("a", {"b"});
  world.AddThin("b", {"a"});
  const Json pod = PodUsing("a");
  auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
  ASSERT_TRUE(outcome.refusal);
  EXPECT_EQ(outcome.refusal->code, 500);
  EXPECT_NE(outcome.refusal->message.find("rounds"), std::string::npos);
  EXPECT_FALSE(outcome.pod);
}

TEST(InjectionTest, GivesUpWhenNoVolumeNameIsFree) {
  World world;
  world.AddThin("a", {});
  Json pod = PodUsing("a");
  Json& volumes = pod["spec"]["volumes"];
  // "fluid-???-t-mount-0" for every ???.
  const std::string alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
  for (const char* taken : {"thin-fuse-mount-0", "fluid-use-mount-0"}) {
    volumes.push_back(Json::object({{"name", taken}}));
  }
  for (const char x : alphabet) {
    for (const char y : alphabet) {
      for (const char z : alphabet) {
        volumes.push_back(Json::object({{"name", std::string("fluid-") + x + y + z + "-mount-0"}}));
      }
    }
  }
  auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
  ASSERT_TRUE(outcome.refusal);
  EXPECT_NE(outcome.refusal->message.find("no free name"), std::string::npos);
}

std::vector<std::string> NamesIn(const Json& containers) {
  std::vector<std::string> names;
  for (const Json& container : containers) names.push_back(container["name"]);
  return names;
}

TEST(InjectionTest, GivesSidecarsNamesThatThePodHasNot) {
  World world;
  world.AddThin("outer", {"inner"});
  world.AddThin("inner", {});
  Json pod = PodUsing("outer");
  // One name counts as one sidecar, so that the next would have this very number.
  pod["spec"]["containers"].push_back(Json::object({{"name", "fluid-fuse-1"}}));
  auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
  ASSERT_TRUE(outcome.pod) << outcome.refusal->message;
  EXPECT_EQ(NamesIn((*outcome.pod)["spec"]["containers"]),
            (std::vector<std::string>{"fluid-fuse-3", "fluid-fuse-2", "app", "fluid-fuse-1"}));
  // What only init containers use has a name of its own in each round.
  pod = PodUsing("outer");
  pod["spec"]["initContainers"] = pod["spec"]["containers"];
  pod["spec"]["containers"] = Json::array({Json::object({{"name", "main"}})});
  outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
  ASSERT_TRUE(outcome.pod) << outcome.refusal->message;
  EXPECT_EQ(NamesIn((*outcome.pod)["spec"]["initContainers"]),
            (std::vector<std::string>{"init-fluid-fuse-1", "init-fluid-fuse-0", "app"}));
}

TEST(InjectionTest, KeepsThePrefetcherOutOfAPodThatHasOneOfItsName) {
  World world;
  world.AddThin("a", {});
  Json pod = PodUsing("a");
  pod["metadata"]["annotations"] = Json::object(
      {{"file-prefetcher.fluid.io/inject", "true"}, {"file-prefetcher.fluid.io/image", "i:1"}});
  pod["spec"]["initContainers"] = Json::array({Json::object({{"name", "fluid-file-prefetcher"}})});
  auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
  ASSERT_TRUE(outcome.refusal);
  EXPECT_NE(outcome.refusal->message.find("fluid-file-prefetcher\" of its own"), std::string::npos)
      << outcome.refusal->message;
}

// Each item stands for every volume of its claim: a small pod may ask for gigabytes of paths.
TEST(InjectionTest, RefusesAFileListThatNoProcessCouldBeGiven) {
  World world;
  world.AddThin("a", {});
  Json pod = PodUsing("a");
  pod["metadata"]["annotations"] = Json::object(
      {{"file-prefetcher.fluid.io/inject", "true"}, {"file-prefetcher.fluid.io/image", "i:1"}});
  for (int i = 0; i < 1000; ++i) {
    pod["spec"]["volumes"].push_back(
        Json::object({{"name", "v" + std::to_string(i)},
                      {"persistentVolumeClaim", Json::object({{"claimName", "a"}})}}));
  }
  std::string list = "pvc://a";
  const auto inject = [&] {
    pod["metadata"]["annotations"]["file-prefetcher.fluid.io/file-list"] = list;
    return Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
  };
  EXPECT_FALSE(inject().refusal);
  for (int i = 0; i < 100'000; ++i) list += ";pvc://a";
  const auto outcome = inject();
  ASSERT_TRUE(outcome.refusal);
  EXPECT_NE(outcome.refusal->message.find("file-prefetcher.fluid.io/file-list"), std::string::npos)
      << outcome.refusal->message;
}

// An empty term matches no node. Injection drops it, and the second time must decide alike.
TEST(InjectionTest, EmptyTermsAreNoAlternativeToServerlessNodes) {
  World world;
  world.AddThin("a", {});
  world.Put("Namespace", "", "ns",
            {{"metadata", {{"labels", {{"fluid.io/enable-injection", "true"}}}}}});
  Json pod = PodUsing("a");
  pod["metadata"].erase("labels");
  Json& terms = pod["spec"]["affinity"]["nodeAffinity"]
                   ["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
  terms = Json::parse(R"([{}, {"matchExpressions": [
      {"key": "type", "operator": "In", "values": ["virtual-kubelet"]}]}, {"matchFields": []}])");
  EXPECT_EQ(Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings()).mode,
            Mode::kSidecar);
  terms = Json::parse("[{}]");
  EXPECT_EQ(Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings()).mode, Mode::kCsi);
}

// A list element that is null stays what it is.
TEST(InjectionTest, MakesNoMountsOfNulls) {
  World world;
  world.AddThin("a", {});
  for (const char* label : {"serverless.fluid.io/inject", "fuse.serverful.fluid.io/inject"}) {
    Json pod = PodUsing("a");
    pod["metadata"]["labels"] = Json::object({{label, "true"}});
    pod["spec"]["volumes"].push_back(
        Json::object({{"persistentVolumeClaim", Json::object({{"claimName", "a"}})}}));
    pod["spec"]["containers"][0]["volumeMounts"].push_back(nullptr);
    auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
    ASSERT_TRUE(outcome.pod) << outcome.refusal->message;
    const Json& mounts = (*outcome.pod)["spec"]["containers"].back()["volumeMounts"];
    EXPECT_TRUE(mounts[1].is_null()) << mounts.dump();
  }
}

// ACK runs all pods of such a namespace on its elastic container instances.
TEST(InjectionTest, AServerlessNamespaceIsForSidecarsUnlessThePodSaysOtherwise) {
  World world;
  world.AddThin("d", {});
  Json pod = PodUsing("d");
  const auto mode = [&](const char* value) {
    world.Put(
        "Namespace", "", "ns",
        {{"metadata",
          {{"labels", {{"fluid.io/enable-injection", "true"}, {"alibabacloud.com/eci", value}}}}}});
    const auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
    return std::string(ModeName(outcome.mode)) + ", " + ToText(outcome.reasons);
  };
  pod["metadata"].erase("labels");
  EXPECT_EQ(
      mode("true").find("sidecar, automatic_serverless_node namespace label alibabacloud.com/eci"),
      0U)
      << mode("true");
  EXPECT_EQ(mode("false").find("csi, automatic_ordinary_node"), 0U) << mode("false");
  pod["metadata"]["labels"] = {{"alibabacloud.com/eci", "false"}};
  EXPECT_EQ(mode("true").find("csi, automatic_ordinary_node"), 0U) << mode("true");
  pod["metadata"]["labels"] = {{"alibabacloud.com/eci", "true"}};
  EXPECT_EQ(mode("false").find("sidecar, automatic_serverless_node label alibabacloud.com/eci"), 0U)
      << mode("false");
}

// What a sidecar needs of a reference dataset is all in the pod's own namespace.
TEST(InjectionTest, ReadsTheNamespaceOfAReferencedDatasetForPlacementOnly) {
  World world;
  world.AddThin("r", {});
  Json reference = *world.AsLookup()(resources::kDataset, {"ns", "r"}).value();
  reference["spec"]["mounts"] =
      Json::array({Json::object({{"mountPoint", "dataset://elsewhere/d"}})});
  world.Put("Dataset", "ns", "r", reference);
  bool elsewhere = false;
  const Lookup lookup = [&](const ResourceType& type, const ObjectKey& key) {
    elsewhere = elsewhere || key.ns == "elsewhere";
    return world.AsLookup()(type, key);
  };
  Json pod = PodUsing("r");
  EXPECT_TRUE(Inject({.pod = pod, .ns = "ns"}, lookup, DefaultSettings()).pod);
  EXPECT_FALSE(elsewhere);
  Settings placed = DefaultSettings();
  placed.serverless.with_dataset.push_back(Plugin::kNodeAffinityWithCache);
  EXPECT_TRUE(Inject({.pod = pod, .ns = "ns"}, lookup, placed).pod);
  EXPECT_TRUE(elsewhere);
  elsewhere = false;
  pod["metadata"]["labels"] = {{"fuse.serverful.fluid.io/inject", "true"}};
  EXPECT_TRUE(Inject({.pod = pod, .ns = "ns"}, lookup, DefaultSettings()).pod);
  EXPECT_TRUE(elsewhere);
}

// Pods in CSI mode that come again after a webhook behind ours has given them another dataset.
class ReinvokedAffinityTest : public testing::Test {
 protected:
  ReinvokedAffinityTest() {
    for (const char* name : {"a", "b"}) {
      world_.AddThin(name, {});
      world_.Put("ThinRuntime", "ns", name, Json::parse(R"({
          "spec": {"fuse": {"nodeSelector": {"topology.kubernetes.io/zone": "z"}}},
          "status": {"cacheAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [
              {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z"]}]}]}}}})"));
    }
  }
  static Json Pod() {
    Json pod = PodUsing("a");
    pod["metadata"]["labels"] = {{"fuse.serverful.fluid.io/inject", "true"}};
    return pod;
  }
  // The pod after its admission; itself if nothing changes.
  Json Admit(const Json& pod) {
    auto outcome = Inject({.pod = pod, .ns = "ns"}, world_.AsLookup(), settings_);
    EXPECT_FALSE(outcome.refusal);
    return outcome.pod.value_or(pod);
  }
  Json AdmitTwice(Json pod, const std::string& sched) {
    pod = Admit(pod);
    pod["metadata"]["labels"]["fluid.io/dataset.b.sched"] = sched;
    pod["spec"]["volumes"].push_back(
        Json::parse(R"({"name": "w", "persistentVolumeClaim": {"claimName": "b"}})"));
    const Json twice = Admit(pod);
    EXPECT_EQ(Admit(twice), twice);
    return twice;
  }
  static std::string AffinityOf(const Json& pod) {
    return pod["spec"].value("affinity", Json()).dump();
  }
  static bool Prefers(const Json& pod, const std::string& label) {
    return PreferredOf(pod).find('"' + label + '"') != std::string::npos;
  }
  static bool Demands(const Json& pod, const std::string& label) {
    return RequiredOf(pod).find('"' + label + '"') != std::string::npos;
  }
  static std::string PreferredOf(const Json& pod) {
    return pod["spec"]["affinity"]["nodeAffinity"]
        .value("preferredDuringSchedulingIgnoredDuringExecution", Json())
        .dump();
  }
  static std::string RequiredOf(const Json& pod) {
    return pod["spec"]["affinity"]["nodeAffinity"]
        .value("requiredDuringSchedulingIgnoredDuringExecution", Json())
        .dump();
  }
  World world_;
  Settings settings_ = DefaultSettings();
};

TEST_F(ReinvokedAffinityTest, ItsDatasetsStayRequired) {
  const Json pod = AdmitTwice(Pod(), "required");
  EXPECT_TRUE(Prefers(pod, "fluid.io/s-ns-a")) << AffinityOf(pod);
  EXPECT_TRUE(Demands(pod, "fluid.io/s-ns-b")) << AffinityOf(pod);
}

TEST_F(ReinvokedAffinityTest, ItsDatasetsStayPreferred) {
  Json pod = Pod();
  pod["metadata"]["labels"]["fluid.io/dataset.a.sched"] = "required";
  pod = AdmitTwice(pod, "preferred");
  EXPECT_TRUE(Demands(pod, "fluid.io/s-ns-a")) << AffinityOf(pod);
  EXPECT_TRUE(Prefers(pod, "fluid.io/s-ns-b")) << AffinityOf(pod);
  // The zone counts for each of them.
  pod = AdmitTwice(Pod(), "preferred");
  const std::string preferred = PreferredOf(pod);
  const std::size_t first = preferred.find("topology.kubernetes.io/zone");
  EXPECT_NE(preferred.find("topology.kubernetes.io/zone", first + 1), std::string::npos)
      << preferred;
}

// The user's own choice is as it was, even where it looks like ours.
TEST_F(ReinvokedAffinityTest, TheUserStillDecides) {
  for (const char* affinity :
       {R"({"preferredDuringSchedulingIgnoredDuringExecution": [
             {"weight": 50, "preference": {"matchExpressions": [
               {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z"]}]}}]})",
        R"({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
             {"matchExpressions": [
               {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z"]}]}]}})"}) {
    Json pod = Pod();
    pod["spec"]["affinity"]["nodeAffinity"] = Json::parse(affinity);
    pod = AdmitTwice(pod, "required");
    for (const char* label : {"fluid.io/s-ns-a", "fluid.io/s-ns-b"}) {
      EXPECT_FALSE(Prefers(pod, label)) << AffinityOf(pod);
      EXPECT_FALSE(Demands(pod, label)) << AffinityOf(pod);
    }
  }
}

// A FUSE container that mounts its directory under a name that no engine is known for.
class UnknownMountVolumeTest : public testing::Test {
 protected:
  void SetUp() override {
    world_.AddThin("d", {});
    SetMountType("cache");
    Json set;
    set["spec"]["template"]["spec"] = Json::parse(R"({
        "volumes": [{"name": "client-dir", "hostPath": {"path": "/runtime-mnt/thin/ns/d"}}],
        "containers": [{"name": "fuse", "image": "i", "volumeMounts": [
          {"name": "client-dir", "mountPath": "/m", "mountPropagation": "Bidirectional"}]}]})");
    world_.Put("DaemonSet", "ns", "d-fuse", set);
  }
  void SetMountType(const std::string& type) {
    Json volume = *world_.AsLookup()(resources::kPersistentVolume, {"", "ns-d"}).value();
    volume["spec"]["csi"]["volumeAttributes"]["mount_type"] = type;
    world_.Put("PersistentVolume", "", "ns-d", volume);
  }
  Json Injected(Json pod) {
    auto outcome = Inject({.pod = pod, .ns = "ns"}, world_.AsLookup(), DefaultSettings());
    EXPECT_TRUE(outcome.pod) << outcome.refusal->message;
    return outcome.pod.value_or(Json());
  }
  // The host path of a volume of the pod; empty when there is none.
  static std::string HostPath(const Json& pod, const std::string& name) {
    for (const Json& volume : pod["spec"]["volumes"]) {
      if (volume["name"] == name) return volume["hostPath"]["path"];
    }
    return "";
  }
  World world_;
};

TEST_F(UnknownMountVolumeTest, SidecarAndApplicationShareThePodsOwnDirectory) {
  Json pod = PodUsing("d");
  pod["metadata"]["annotations"]["default.fuse-sidecar.fluid.io/host-mount-path-mode"] =
      "random-suffix";
  const Json injected = Injected(pod);
  const std::string directory = HostPath(injected, "client-dir-0");
  EXPECT_NE(directory, "/runtime-mnt/thin/ns/d");
  EXPECT_EQ(HostPath(injected, "v"), directory + "/thin-fuse");
}

TEST_F(UnknownMountVolumeTest, IsForTheTypesWithoutANameOnly) {
  for (const char* type : {"cache", "vineyard-fuse", "alifuse.aliyun-alinas-efc"}) {
    SetMountType(type);
    EXPECT_EQ(HostPath(Injected(PodUsing("d")), "v"), "/runtime-mnt/thin/ns/d/thin-fuse");
  }
  for (const auto& [type, volume] :
       {std::pair{"fuse.x", "thin-fuse-mount"}, {"JuiceFS", "juicefs-fuse-mount"}}) {
    SetMountType(type);
    const Json pod = PodUsing("d");
    const auto outcome = Inject({.pod = pod, .ns = "ns"}, world_.AsLookup(), DefaultSettings());
    ASSERT_TRUE(outcome.refusal) << type;
    EXPECT_NE(outcome.refusal->message.find(std::string("no volumeMount \"") + volume + '"'),
              std::string::npos)
        << outcome.refusal->message;
  }
}

TEST_F(UnknownMountVolumeTest, AnUnprivilegedSidecarHasNoDirectoryOfTheNode) {
  Json pod = PodUsing("d");
  pod["metadata"]["labels"]["unprivileged.sidecar.fluid.io/inject"] = "true";
  EXPECT_EQ(HostPath(Injected(pod), "client-dir-0"), "");
}

// A sidecar that mounts by itself, in a pod that restricts its containers.
class PodSecurityTest : public testing::Test {
 protected:
  void SetUp() override {
    world_.AddThin("d", {});
    SetSidecarContext(R"({"privileged": true})");
  }
  void SetSidecarContext(const std::string& context) {
    Json set = *world_.AsLookup()({"apps", "v1", "daemonsets", "DaemonSet", true}, {"ns", "d-fuse"})
                    .value();
    set["spec"]["template"]["spec"]["containers"][0]["securityContext"] = Json::parse(context);
    world_.Put("DaemonSet", "ns", "d-fuse", set);
  }
  Outcome Run(const std::string& pod_context, const std::string& pod_labels = "{}") {
    Json pod = PodUsing("d");
    pod["spec"]["securityContext"] = Json::parse(pod_context);
    pod["metadata"]["labels"].update(Json::parse(pod_labels));
    return Inject({.pod = pod, .ns = "ns"}, world_.AsLookup(), DefaultSettings());
  }
  static Json ContextOfSidecar(const Outcome& outcome) {
    return (*outcome.pod)["spec"]["containers"][0]["securityContext"];
  }
  World world_;
};

TEST_F(PodSecurityTest, MountsAsRootWhateverThePodSays) {
  const auto outcome = Run(R"({"runAsNonRoot": true, "runAsUser": 1000})");
  ASSERT_TRUE(outcome.pod);
  EXPECT_EQ(ContextOfSidecar(outcome),
            Json::parse(R"({"privileged": true, "runAsUser": 0, "runAsNonRoot": false})"));
  EXPECT_FALSE((*outcome.pod)["spec"]["containers"][1].contains("securityContext"));
  ASSERT_EQ(outcome.warnings.size(), 1U);
  EXPECT_NE(outcome.warnings[0].find("spec.securityContext.runAsUser and runAsNonRoot"),
            std::string::npos);
  EXPECT_NE(outcome.warnings[0].find("fuse.serverful.fluid.io/inject=true"), std::string::npos);
  // What it says itself stays.
  EXPECT_EQ(ContextOfSidecar(Run(R"({"runAsNonRoot": true})")),
            Json::parse(R"({"privileged": true, "runAsNonRoot": false})"));
  for (const char* harmless : {"{}", R"({"runAsUser": 0})", R"({"fsGroup": 7})"}) {
    EXPECT_EQ(ContextOfSidecar(Run(harmless)), Json::parse(R"({"privileged": true})"));
    EXPECT_TRUE(Run(harmless).warnings.empty());
  }
}

TEST_F(PodSecurityTest, LeavesWhatMountsNothingAlone) {
  const auto outcome = Run(R"({"runAsNonRoot": true, "runAsUser": 1000})",
                           R"({"unprivileged.sidecar.fluid.io/inject": "true"})");
  ASSERT_TRUE(outcome.pod);
  EXPECT_EQ(ContextOfSidecar(outcome), Json::parse(R"({"privileged": false})"));
  EXPECT_TRUE(outcome.warnings.empty());
}

TEST_F(PodSecurityTest, WarnsOfARootThatTheKubeletWillNotStart) {
  const std::string unprivileged = R"({"unprivileged.sidecar.fluid.io/inject": "true"})";
  SetSidecarContext(R"({"privileged": true, "runAsUser": 0})");
  const auto outcome = Run(R"({"runAsNonRoot": true, "runAsUser": 1000})", unprivileged);
  ASSERT_TRUE(outcome.pod);
  EXPECT_EQ(ContextOfSidecar(outcome), Json::parse(R"({"privileged": false, "runAsUser": 0})"));
  ASSERT_EQ(outcome.warnings.size(), 1U);
  for (const char* part :
       {"spec.securityContext.runAsNonRoot", "fluid-fuse-0", "runAsUser 0",
        "securityContext of the application's containers", "fuse.serverful.fluid.io/inject=true"}) {
    EXPECT_NE(outcome.warnings[0].find(part), std::string::npos) << outcome.warnings[0];
  }
  for (const char* harmless : {"{}", R"({"runAsNonRoot": false})", R"({"runAsUser": 1000})"}) {
    EXPECT_TRUE(Run(harmless, unprivileged).warnings.empty()) << harmless;
  }
  // It inherits the pod's user, or says itself what it may be.
  SetSidecarContext(R"({"privileged": true})");
  EXPECT_EQ(Run(R"({"runAsNonRoot": true, "runAsUser": 0})", unprivileged).warnings.size(), 1U);
  SetSidecarContext(R"({"runAsUser": 0, "runAsNonRoot": false})");
  EXPECT_TRUE(Run(R"({"runAsNonRoot": true})", unprivileged).warnings.empty());
}

TEST_F(PodSecurityTest, WarnsOfWhatTheNamespaceWillRefuse) {
  for (const char* level : {"baseline", "restricted"}) {
    world_.Put("Namespace", "", "ns",
               {{"metadata", {{"labels", {{"pod-security.kubernetes.io/enforce", level}}}}}});
    const auto outcome = Run("{}");
    ASSERT_EQ(outcome.warnings.size(), 1U) << level;
    for (const char* part : {level, "spec.containers[fluid-fuse-0].securityContext",
                             "spec.volumes[v].hostPath", "label the namespace privileged"}) {
      EXPECT_NE(outcome.warnings[0].find(part), std::string::npos) << outcome.warnings[0];
    }
  }
  world_.Put("Namespace", "", "ns",
             {{"metadata", {{"labels", {{"pod-security.kubernetes.io/enforce", "privileged"}}}}}});
  EXPECT_TRUE(Run("{}").warnings.empty());
}

TEST_F(PodSecurityTest, WarnsOfUserNamespaces) {
  Json pod = PodUsing("d");
  pod["spec"]["hostUsers"] = false;
  const auto outcome = Inject({.pod = pod, .ns = "ns"}, world_.AsLookup(), DefaultSettings());
  ASSERT_EQ(outcome.warnings.size(), 1U);
  EXPECT_NE(outcome.warnings[0].find("spec.hostUsers"), std::string::npos);
}

TEST(InjectionTest, LooksAtNothingBeforeTheGates) {
  const Lookup forbidden = [](const ResourceType&,
                              const ObjectKey&) -> Result<std::shared_ptr<const Json>> {
    ADD_FAILURE() << "read something";
    return Fail(Code::kNotFound, "");
  };
  Json done = PodUsing("a");
  done["metadata"]["labels"]["done.sidecar.fluid.io/inject"] = "true";
  EXPECT_FALSE(Inject({.pod = done, .ns = "ns"}, forbidden, DefaultSettings()).refusal);
  Json off = PodUsing("a");
  off["metadata"]["labels"]["fluid.io/enable-injection"] = "false";
  EXPECT_FALSE(Inject({.pod = off, .ns = "ns"}, forbidden, DefaultSettings()).refusal);
  const Json no_claims = Json::parse(R"({"spec": {"containers": [{"name": "a"}]}})");
  EXPECT_FALSE(Inject({.pod = no_claims, .ns = "ns"}, forbidden, DefaultSettings()).refusal);
}

// Puts a value of another type somewhere into the document.
void Damage(Json& document, std::mt19937& random) {
  Json* target = &document;
  while (target->is_structured() && !target->empty() && random() % 5 != 0) {
    auto child = target->begin();
    std::advance(child, random() % target->size());
    target = &*child;
  }
  const std::vector<Json> values{nullptr,
                                 true,
                                 -1,
                                 1.5,
                                 "text",
                                 Json::array(),
                                 Json::object(),
                                 Json::array({nullptr, 1, "x"}),
                                 Json::object({{"name", nullptr}})};
  *target = values[random() % values.size()];
}

TEST(InjectionTest, NeverThrowsOnDamagedPods) {
  World world;
  world.AddThin("a", {});
  std::mt19937 random(20261123);
  int patched = 0;
  for (int i = 0; i < 4000; ++i) {
    Json pod = PodUsing("a");
    pod["spec"]["initContainers"] = pod["spec"]["containers"];
    pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
       ["nodeSelectorTerms"] = Json::parse(R"([{"matchExpressions": [{"key": "k",
           "operator": "In", "values": ["v"]}]}])");
    pod["metadata"]["annotations"] = {{"file-prefetcher.fluid.io/inject", "true"},
                                      {"file-prefetcher.fluid.io/image", "i:1"}};
    if (i % 2 == 0) pod["metadata"]["labels"] = {{"fuse.serverful.fluid.io/inject", "true"}};
    for (unsigned n = 0; n <= random() % 3; ++n) Damage(pod, random);
    ASSERT_NO_THROW({
      auto outcome = Inject({.pod = pod, .ns = "ns"}, world.AsLookup(), DefaultSettings());
      if (outcome.pod) ++patched;
      EXPECT_FALSE(outcome.pod && outcome.refusal);
    }) << pod.dump();
  }
  EXPECT_GT(patched, 100);
}

TEST(InjectionTest, NeverThrowsOnDamagedClusterObjects) {
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    World world;
    world.AddThin("a", {});
    const Lookup sound = world.AsLookup();
    const Lookup damaged = [&](const ResourceType& type,
                               const ObjectKey& key) -> Result<std::shared_ptr<const Json>> {
      auto object = sound(type, key);
      if (!object) return object;
      Json copy = **object;
      if (random() % 4 == 0) Damage(copy, random);
      return std::make_shared<const Json>(std::move(copy));
    };
    const Json pod = PodUsing("a");
    ASSERT_NO_THROW(Inject({.pod = pod, .ns = "ns"}, damaged, DefaultSettings()));
  }
}

}  // namespace
}  // namespace sluice::injection
