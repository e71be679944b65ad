// Properties of admission over pods made up at random; the seeds are fixed.
#include <random>

#include <gtest/gtest.h>

#include "sluice/core/json_access.h"

#include "admission_properties.h"
#include "golden_case.h"

namespace sluice::test {
namespace {

// A pod that uses datasets in ways a user may, names of ours included.
class PodMaker {
 public:
  explicit PodMaker(unsigned seed) : random_(seed) {}

  Json Make() {
    Json pod = Json::object({{"apiVersion", "v1"}, {"kind", "Pod"}});
    pod["metadata"] = Metadata();
    pod["spec"] = Json::object({{"restartPolicy", "Never"}});
    AddVolumes(pod["spec"]);
    pod["spec"]["containers"] = Containers(1 + Below(3), kContainerNames);
    if (Chance(2)) pod["spec"]["initContainers"] = Containers(Below(3), kInitNames);
    if (Chance(3)) pod["spec"]["affinity"] = Affinity();
    if (Chance(5)) pod["spec"]["nodeSelector"] = Json::object({{Pick(kNodeLabels), "x"}});
    if (Chance(6)) {
      pod["spec"]["tolerations"] = Json::parse(R"([{"key": "virtual-kubelet.io/provider"}])");
    }
    Mark(pod);
    return pod;
  }

 private:
  using Words = std::vector<const char*>;
  inline static const Words kClaims{"alx",  "alx2",  "jfs",     "jfs2",  "jindo", "jindofuse",
                                    "thin", "efc",   "model",   "outer", "inner", "wrapped",
                                    "jfs",  "plain", "no-such", "alx2",  "jfs",   "unbound"};
  // The first are a user's own, the others collide.
  inline static const Words kVolumeNames{"data",
                                         "data",
                                         "v",
                                         "v",
                                         "check-fluid-mount-ready",
                                         "default-check-mount-0",
                                         "thin-fuse-mount-0",
                                         "mem-0",
                                         "fluid-file-prefetcher-status-vol",
                                         "fluid-t-check-mount-0",
                                         "fluid-fluid-mount-ready",
                                         "juicefs-fuse-mount-0"};
  inline static const Words kContainerNames{"app",          "app",          "worker",
                                            "fluid-fuse-0", "fluid-fuse-1", "init-fluid-fuse-0"};
  inline static const Words kInitNames{"prepare", "prepare", "fluid-fuse-1", "init-fluid-fuse-0"};
  inline static const Words kNodeLabels{"disk", "topology.kubernetes.io/zone",
                                        "topology.kubernetes.io/region", "type",
                                        "fluid.io/s-oracle-jfs"};

  std::size_t Below(std::size_t bound) { return random_() % bound; }
  bool Chance(std::size_t one_in) { return Below(one_in) == 0; }
  const char* Pick(const Words& words) { return words[Below(words.size())]; }

  Json Metadata() {
    Json metadata = Json::object({{Chance(3) ? "generateName" : "name", "app-"}});
    Json labels = Json::object();
    Json annotations = Json::object();
    switch (Below(8)) {
      case 0:
      case 1:
      case 2:
        labels["serverless.fluid.io/inject"] = "true";
        break;
      case 3:
      case 4:
      case 5:
        labels["fuse.serverful.fluid.io/inject"] = "true";
        break;
      case 6:
        labels["fuse.sidecar.fluid.io/inject"] = "true";
        break;
      default:
        break;
    }
    const auto maybe = [&](Json& map, std::size_t one_in, const char* key, const Words& values) {
      if (Chance(one_in)) map[key] = Pick(values);
    };
    maybe(labels, 3, "app.poststart.fluid.io/inject", {"true", "false"});
    maybe(labels, 4, "fuse.sidecar.poststart.fluid.io/inject", {"false", "true"});
    maybe(labels, 4, "cachedir.sidecar.fluid.io/inject", {"true"});
    maybe(labels, 6, "unprivileged.sidecar.fluid.io/inject", {"true"});
    maybe(labels, 3, "fluid.io/dataset.jfs.sched", {"required", "preferred"});
    maybe(labels, 3, "fluid.io/dataset.alx2.sched", {"required"});
    maybe(labels, 20, "fluid.io/enable-injection", {"false", "true"});
    maybe(labels, 20, "done.sidecar.fluid.io/inject", {"false", "true"});
    maybe(labels, 8, "fluid.io/managed-by", {"someone"});
    maybe(annotations, 3, "default.fuse-sidecar.fluid.io/host-mount-path-mode",
          {"random-suffix", "fixed", "x"});
    maybe(annotations, 10, "serverless.fluid.io/platform", {"default", "unprivileged", "x"});
    maybe(annotations, 3, "fluid.io/datasets-in-use", {"z, a,,a", "jfs", " ", ""});
    maybe(annotations, 3, "sidecar.fluid.io/skip-precheck", {"true"});
    maybe(annotations, 6, "prometheus.fuse.fluid.io/scrape", {"", "false"});
    if (Chance(2)) {
      annotations["file-prefetcher.fluid.io/inject"] = "true";
      maybe(annotations, 2, "file-prefetcher.fluid.io/image", {"prefetcher:v1"});
      maybe(annotations, 2, "file-prefetcher.fluid.io/async-prefetch", {"true", "f"});
      maybe(annotations, 2, "file-prefetcher.fluid.io/file-list",
            {"pvc://jfs/../a/*", "pvc://alx2;pvc://jfs/", "<ALL>", "pvc://other"});
      maybe(annotations, 4, "file-prefetcher.fluid.io/extra-envs", {"A=1 B=2", "A=1"});
    }
    if (!labels.empty()) metadata["labels"] = std::move(labels);
    if (!annotations.empty()) metadata["annotations"] = std::move(annotations);
    return metadata;
  }

  void AddVolumes(Json& spec) {
    volumes_.clear();
    Json volumes = Json::array();
    for (std::size_t n = Below(6); n > 0; --n) {
      std::string name = Pick(kVolumeNames);
      if (std::find(volumes_.begin(), volumes_.end(), name) != volumes_.end()) {
        name += std::to_string(n);
      }
      volumes_.push_back(name);
      Json volume = Json::object({{"name", name}});
      if (Chance(4)) {
        volume["emptyDir"] = Json::object();
      } else {
        // Claims that cannot be used are rarer than one in so many: they end the admission.
        const std::size_t usable = kClaims.size() - (Chance(12) ? 0 : 5);
        volume["persistentVolumeClaim"] = Json::object({{"claimName", kClaims[Below(usable)]}});
        if (Chance(4)) volume["persistentVolumeClaim"]["readOnly"] = true;
      }
      volumes.push_back(std::move(volume));
    }
    if (!volumes.empty() || Chance(2)) spec["volumes"] = std::move(volumes);
  }

  Json Containers(std::size_t count, const Words& names) {
    Json containers = Json::array();
    std::vector<std::string> taken;
    while (count-- > 0) {
      std::string name = Pick(names);
      if (std::find(taken.begin(), taken.end(), name) != taken.end()) {
        name += "-" + std::to_string(count);
      }
      taken.push_back(name);
      Json container = Json::object({{"name", name}, {"image", "i"}});
      for (const std::string& volume : volumes_) {
        if (Chance(3)) continue;
        Json mount = Json::object({{"name", volume}, {"mountPath", "/" + volume}});
        if (Chance(4)) mount["mountPropagation"] = Chance(2) ? "None" : "Bidirectional";
        if (Chance(5)) mount["subPath"] = "below";
        if (Chance(5)) mount["readOnly"] = Chance(2);
        container["volumeMounts"].push_back(std::move(mount));
      }
      if (Chance(4)) {
        container["lifecycle"][Chance(2) ? "postStart" : "preStop"]["exec"]["command"] = {"x"};
      }
      if (Chance(6)) container["restartPolicy"] = "Always";
      containers.push_back(std::move(container));
    }
    return containers;
  }

  Json Term() {
    Json term = Json::object();
    for (std::size_t n = Below(3); n > 0; --n) {
      term["matchExpressions"].push_back(
          Json::object({{"key", Pick(kNodeLabels)}, {"operator", "In"}, {"values", {"ssd"}}}));
    }
    if (Chance(4)) {
      term["matchFields"] = Json::parse(
          R"([{"key": "metadata.name", "operator": "In", "values": ["virtual-kubelet-1"]}])");
    }
    return term;
  }

  Json Affinity() {
    Json affinity = Json::object({{"podAffinity", Json::object()}});
    if (Chance(4)) return affinity;
    Json& node = affinity["nodeAffinity"] = Json::object();
    if (!Chance(3)) {
      Json& terms = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
      terms = Json::array();
      for (std::size_t n = Below(4); n > 0; --n) terms.push_back(Term());
    }
    if (!Chance(3)) {
      for (std::size_t n = 1 + Below(3); n > 0; --n) {
        node["preferredDuringSchedulingIgnoredDuringExecution"].push_back(
            Json::object({{"weight", 1 + Below(100)}, {"preference", Term()}}));
      }
    }
    return affinity;
  }

  // Fields that nobody knows, and explicit nulls; what is left out of here has only strings.
  void Mark(Json& value) {
    if (value.is_array()) {
      for (Json& item : value) Mark(item);
    }
    if (!value.is_object()) return;
    for (const auto& [key, member] : value.items()) {
      if (key != "labels" && key != "annotations" && key != "nodeSelector") Mark(member);
    }
    if (Chance(6)) value["zzUnknown"] = Json::array({Below(1000), 1.5});
    if (Chance(20)) value["zzNull"] = nullptr;
  }

  std::mt19937 random_;
  std::vector<std::string> volumes_;  // names of the pod in the making
};

class AdmissionPropertyTest : public testing::TestWithParam<unsigned> {};

TEST_P(AdmissionPropertyTest, HoldsForRandomPods) {
  constexpr int kPods = 400;
  PodMaker maker(GetParam());
  std::map<injection::Mode, int> patched;
  int refused = 0;
  for (int i = 0; i < kPods; ++i) {
    const Json pod = maker.Make();
    // Both placements of the same pod, in turn in a namespace with opt-in.
    for (const unsigned placement : {0U, 1U}) {
      const auto situation =
          SituationOf(static_cast<unsigned char>(placement | 4U | (i % 2 == 0 ? 0U : 64U)));
      const Verdict verdict = Judge(pod, situation.ns, situation.settings);
      ASSERT_EQ(verdict.fault, "") << "pod " << i << " in " << situation.ns << ", placement "
                                   << placement << ": " << pod.dump();
      if (verdict.outcome.pod) ++patched[verdict.outcome.mode];
      if (verdict.outcome.refusal) ++refused;
    }
  }
  // The properties are about something.
  EXPECT_GT(patched[injection::Mode::kSidecar], kPods / 8);
  EXPECT_GT(patched[injection::Mode::kCsi], kPods / 8);
  EXPECT_GT(refused, kPods / 20);
}

INSTANTIATE_TEST_SUITE_P(Seeds, AdmissionPropertyTest, testing::Values(1U, 2U, 3U, 4U));

// The fuzzers start from these.
TEST(GoldenPropertyTest, Hold) {
  for (const std::string& name : GoldenCaseNames()) {
    const GoldenCase golden = LoadGoldenCase(name);
    const Json request = golden.review ? ChildOf(*golden.review, "request") : Json();
    if (!request.contains("object")) continue;
    EXPECT_EQ(Judge(request["object"], StringOf(request, "namespace"), golden.settings).fault, "")
        << name;
  }
}

Json SamplePod() {
  return Json::parse(R"({
    "metadata": {"name": "p", "labels": {"a": "b", "serverless.fluid.io/inject": "true"}},
    "spec": {
      "serviceAccountName": "s",
      "affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
          {"matchExpressions": [{"key": "k", "operator": "Exists"}]}]},
        "preferredDuringSchedulingIgnoredDuringExecution": [
          {"weight": 1, "preference": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}}]}},
      "containers": [{"name": "app", "image": "i", "env": [{"name": "A", "value": "1"}],
                      "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
                      "volumeMounts": [{"name": "d", "mountPath": "/d", "subPath": "s"},
                                       {"name": "tmp", "mountPath": "/tmp"}]}],
      "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "jfs"}},
                  {"name": "tmp", "emptyDir": {}}]}})");
}

struct Damage {
  const char* name;
  const char* patch;  // of the injected sample pod
};

void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class FrameTest : public testing::TestWithParam<Damage> {};

// The check itself must see what injection may not do.
TEST_P(FrameTest, SeesDamage) {
  const Json pod = SamplePod();
  const Situation situation = SituationOf(0);
  const Verdict verdict = Judge(pod, situation.ns, situation.settings);
  ASSERT_EQ(verdict.fault, "");
  ASSERT_TRUE(verdict.outcome.pod);
  const Json damaged = verdict.outcome.pod->patch(Json::parse(GetParam().patch));
  EXPECT_NE(FrameFault(pod, damaged, situation.ns), "") << damaged.dump();
}

INSTANTIATE_TEST_SUITE_P(
    Table, FrameTest,
    testing::Values(
        Damage{"TopLevel", R"([{"op": "add", "path": "/status", "value": {}}])"},
        Damage{"PodName", R"([{"op": "replace", "path": "/metadata/name", "value": "q"}])"},
        Damage{"UsersLabel", R"([{"op": "remove", "path": "/metadata/labels/a"}])"},
        Damage{"NewLabel", R"([{"op": "add", "path": "/metadata/labels/c", "value": "d"}])"},
        Damage{"NewAnnotation",
               R"([{"op": "add", "path": "/metadata/annotations/c", "value": "d"}])"},
        Damage{"SpecField", R"([{"op": "remove", "path": "/spec/serviceAccountName"}])"},
        Damage{"PodAffinity",
               R"([{"op": "add", "path": "/spec/affinity/podAffinity", "value": {}}])"},
        Damage{
            "PreferredTermGone",
            R"([{"op": "remove", "path": "/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution/0"}])"},
        Damage{
            "RequiredTermAdded",
            R"([{"op": "add", "path": "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0", "value": {"matchExpressions": [{"key": "z", "operator": "Exists"}]}}])"},
        Damage{
            "RequiredTermGone",
            R"([{"op": "remove", "path": "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0"},
                 {"op": "add", "path": "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0", "value": {"matchFields": []}}])"},
        Damage{"VolumeGone", R"([{"op": "remove", "path": "/spec/volumes/1"}])"},
        Damage{"OtherVolume",
               R"([{"op": "add", "path": "/spec/volumes/1/emptyDir/medium", "value": "Memory"}])"},
        Damage{"VolumeNameTwice",
               R"([{"op": "add", "path": "/spec/volumes/-", "value": {"name": "tmp"}}])"},
        Damage{"ContainerImage",
               R"([{"op": "replace", "path": "/spec/containers/1/image", "value": "j"}])"},
        Damage{"ContainerEnv", R"([{"op": "remove", "path": "/spec/containers/1/env/0"}])"},
        Damage{"ContainerPreStop",
               R"([{"op": "remove", "path": "/spec/containers/1/lifecycle/preStop"}])"},
        Damage{"ContainerGone", R"([{"op": "remove", "path": "/spec/containers/1"}])"},
        Damage{"ForeignContainer",
               R"([{"op": "add", "path": "/spec/containers/0", "value": {"name": "x"}}])"},
        Damage{"SubPath",
               R"([{"op": "remove", "path": "/spec/containers/1/volumeMounts/0/subPath"}])"},
        Damage{
            "OtherMount",
            R"([{"op": "add", "path": "/spec/containers/1/volumeMounts/1/readOnly", "value": true}])"},
        Damage{
            "MountOfNoVolume",
            R"([{"op": "add", "path": "/spec/containers/1/volumeMounts/-", "value": {"name": "x"}}])"},
        Damage{
            "SidecarMountOfNoVolume",
            R"([{"op": "add", "path": "/spec/containers/0/volumeMounts/-", "value": {"name": "x"}}])"},
        Damage{
            "ContainerNameTwice",
            R"([{"op": "add", "path": "/spec/containers/0", "value": {"name": "fluid-fuse-0"}}])"}),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace sluice::test
