#include "admission_properties.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/core/json_access.h"
#include "sluice/core/json_patch.h"
#include "sluice/yaml/file_objects.h"

#include "golden_case.h"

namespace sluice::test {
namespace {

// A bound thin dataset; its FUSE container mounts `claim` itself unless that is empty.
void AddThinDataset(const std::string& ns, const std::string& name, const std::string& claim,
                    Json& items) {
  const auto add = [&](const char* api_version, const char* kind, const std::string& object_ns,
                       const std::string& object_name, Json object) {
    object["apiVersion"] = api_version;
    object["kind"] = kind;
    object["metadata"]["name"] = object_name;
    if (!object_ns.empty()) object["metadata"]["namespace"] = object_ns;
    items.push_back(std::move(object));
  };
  Json pvc;
  pvc["metadata"]["labels"]["fluid.io/s-" + ns + "-" + name] = "true";
  add("v1", "PersistentVolumeClaim", ns, name, pvc);
  Json dataset;
  dataset["status"]["phase"] = "Bound";
  dataset["status"]["runtimes"] = Json::array({Json::object({{"type", "thin"}})});
  add("data.fluid.io/v1alpha1", "Dataset", ns, name, dataset);
  Json runtime;
  runtime["spec"]["fuse"]["nodeSelector"] = Json::object({{"disk", "ssd"}, {"of", name}});
  add("data.fluid.io/v1alpha1", "ThinRuntime", ns, name, runtime);
  Json volume;
  volume["spec"]["csi"]["volumeAttributes"] =
      Json::object({{"fluid_path", "/runtime-mnt/thin/" + ns + "/" + name + "/thin-fuse"},
                    {"mount_type", "fuse.x"}});
  add("v1", "PersistentVolume", "", ns + "-" + name, volume);
  Json mounts = Json::array({Json::object({{"name", "thin-fuse-mount"}, {"mountPath", "/m"}})});
  Json volumes = Json::array({Json::object(
      {{"name", "thin-fuse-mount"}, {"hostPath", Json::object({{"path", "/runtime-mnt"}})}})});
  if (!claim.empty()) {
    mounts.push_back(Json::object({{"name", "more"}, {"mountPath", "/more"}}));
    volumes.push_back(Json::object(
        {{"name", "more"}, {"persistentVolumeClaim", Json::object({{"claimName", claim}})}}));
  }
  Json set;
  set["spec"]["template"]["spec"] = Json::object(
      {{"volumes", volumes},
       {"containers", Json::array({Json::object(
                          {{"name", "fuse"}, {"image", "i"}, {"volumeMounts", mounts}})})}});
  add("apps/v1", "DaemonSet", ns, name + "-fuse", set);
}

injection::Outcome InjectAt(const Json& pod, const std::string& ns,
                            const injection::Settings& settings, std::int64_t micros) {
  const ObjectSource& cluster = PropertyCluster();
  return injection::Inject(
      {.pod = pod, .ns = ns, .unix_micros = micros, .seed = static_cast<std::uint64_t>(micros)},
      [&](const ResourceType& type, const ObjectKey& key) { return cluster.Find(type, key); },
      settings);
}

// Everything of an outcome as one document.
Json Everything(const injection::Outcome& outcome) {
  Json all = Json::object({{"message", outcome.message},
                           {"mode", ModeName(outcome.mode)},
                           {"warnings", outcome.warnings},
                           {"configMaps", outcome.config_maps},
                           {"lookAgain", outcome.look_again},
                           {"errorsPass", outcome.errors_pass}});
  for (const auto& reason : outcome.reasons) {
    ListIn(all, "reasons").push_back(Json::array({reason.name, reason.detail}));
  }
  if (outcome.pod) all["pod"] = *outcome.pod;
  const auto add = [&](const char* key, const std::optional<injection::Refusal>& refusal) {
    if (!refusal) return;
    all[key] = Json::array({refusal->code, refusal->reason, refusal->message, refusal->retry_live});
  };
  add("refusal", outcome.refusal);
  add("passedOver", outcome.passed_over);
  return all;
}

// What is wrong with the outcome where errors are ignored; empty when nothing is.
std::string FaultWhenIgnored(const injection::Outcome& strict, const injection::Outcome& lenient) {
  // What no API server sends is refused under both.
  const bool failed = strict.refusal && strict.refusal->code == 500 &&
                      strict.reasons.front().name != std::string_view("no_namespace");
  if (!failed) {
    const bool same = strict.pod == lenient.pod && !strict.refusal == !lenient.refusal &&
                      !strict.passed_over == !lenient.passed_over;
    return same ? "" : "another pod where errors are ignored";
  }
  if (lenient.refusal) return "refused where errors are ignored: " + lenient.refusal->message;
  if (lenient.pod || !lenient.config_maps.empty()) return "patched in spite of an error";
  if (!lenient.passed_over || lenient.warnings.empty()) return "an error ignored without a word";
  return "";
}

bool StartsWithOne(const std::string& text, std::initializer_list<const char*> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const char* prefix) { return text.starts_with(prefix); });
}

// Whether the objects are the same but for these keys.
bool SameBut(const Json& a, const Json& b, std::initializer_list<const char*> keys) {
  if (!a.is_object() || !b.is_object()) return a == b;
  Json rest_of_a = a;
  Json rest_of_b = b;
  for (const char* key : keys) {
    rest_of_a.erase(key);
    rest_of_b.erase(key);
  }
  return rest_of_a == rest_of_b;
}

bool Contains(const Json& list, const Json& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

bool ContainsAll(const Json& list, const Json& items) {
  return std::all_of(items.begin(), items.end(),
                     [&](const Json& item) { return Contains(list, item); });
}

bool BeginsWith(const Json& list, const Json& first) {
  return first.size() <= list.size() && std::equal(first.begin(), first.end(), list.begin());
}

bool IsEmptyTermOf(const Json& term) {
  return ItemsOf(term, "matchExpressions").empty() && ItemsOf(term, "matchFields").empty();
}

// Whether whatever satisfies `narrow` satisfies `wide`.
bool Narrows(const Json& narrow, const Json& wide) {
  return SameBut(narrow, wide, {"matchExpressions", "matchFields"}) &&
         ContainsAll(ItemsOf(narrow, "matchExpressions"), ItemsOf(wide, "matchExpressions")) &&
         ContainsAll(ItemsOf(narrow, "matchFields"), ItemsOf(wide, "matchFields"));
}

// Names of the elements; nothing when one is there twice or has none.
std::optional<std::set<std::string>> DistinctNames(std::initializer_list<const Json*> lists) {
  std::set<std::string> names;
  for (const Json* list : lists) {
    for (const Json& item : *list) {
      const std::string name = StringOf(item, "name");
      if (name.empty() || !names.insert(name).second) return std::nullopt;
    }
  }
  return names;
}

class Frame {
 public:
  Frame(const Json& pod, const Json& patched, const std::string& ns) : from_(pod), to_(patched) {
    for (const Json& volume : Spec(from_, "volumes")) {
      const Json& claim = ChildOf(volume, "persistentVolumeClaim");
      if (IsDatasetClaim(ns, claim)) datasets_.insert(StringOf(volume, "name"));
    }
    mounted_ = datasets_;
    for (const char* list : {"initContainers", "containers"}) {
      for (const Json& container : Spec(from_, list)) AddVolumesOfSidecar(container);
    }
  }

  std::string Fault() {
    if (!SameBut(from_, to_, {"metadata", "spec"})) return "a field beside metadata and spec";
    CheckMetadata();
    const Json& from = ChildOf(from_, "spec");
    const Json& to = ChildOf(to_, "spec");
    Expect(SameBut(from, to, {"affinity", "volumes", "containers", "initContainers"}),
           "a field of spec");
    CheckAffinity(ChildOf(from, "affinity"), ChildOf(to, "affinity"));
    CheckVolumes();
    CheckContainers("containers");
    CheckContainers("initContainers");
    CheckNames();
    return fault_;
  }

 private:
  static const Json& Spec(const Json& pod, const char* list) {
    return ItemsOf(ChildOf(pod, "spec"), list);
  }

  static bool IsDatasetClaim(const std::string& ns, const Json& source) {
    const auto pvc = PropertyCluster().Find(resources::kPersistentVolumeClaim,
                                            {ns, StringOf(source, "claimName")});
    if (source.empty() || !pvc) return false;
    for (const auto& [key, value] : ChildOf(ChildOf(**pvc, "metadata"), "labels").items()) {
      if (StartsWithOne(key, {"fluid.io/s-", "fluid.io/managed-by", "fluid.io/wrapped-by"})) {
        return true;
      }
    }
    return false;
  }

  // What an earlier injection made of the claims: paths below what its sidecar mounts.
  void AddVolumesOfSidecar(const Json& container) {
    if (!StringOf(container, "name").starts_with("fluid-fuse-")) return;
    for (const Json& mount : ItemsOf(container, "volumeMounts")) {
      if (StringOf(mount, "mountPropagation") != "Bidirectional") continue;
      for (const std::string& directory : HostPaths(StringOf(mount, "name"))) {
        for (const Json& volume : Spec(from_, "volumes")) {
          const std::string path = StringOf(ChildOf(volume, "hostPath"), "path");
          if (path.starts_with(directory + "/")) mounted_.insert(StringOf(volume, "name"));
        }
      }
    }
  }

  [[nodiscard]] std::vector<std::string> HostPaths(const std::string& name) const {
    std::vector<std::string> paths;
    for (const Json& volume : Spec(from_, "volumes")) {
      const std::string path = StringOf(ChildOf(volume, "hostPath"), "path");
      if (StringOf(volume, "name") == name && !path.empty()) paths.push_back(path);
    }
    return paths;
  }

  void Expect(bool holds, const std::string& fault) {
    if (!holds && fault_.empty()) fault_ = fault;
  }

  void CheckMetadata() {
    const Json& from = ChildOf(from_, "metadata");
    const Json& to = ChildOf(to_, "metadata");
    Expect(SameBut(from, to, {"labels", "annotations"}), "a field of metadata");
    CheckMap(from, to, "labels",
             {"done.sidecar.fluid.io/inject", "fluid.io/managed-by", "serverless.fluid.io/inject",
              "dataset-name.sidecar.fluid.io/", "dataset-namespace.sidecar.fluid.io/"});
    CheckMap(from, to, "annotations",
             {"fluid.io/datasets-in-use", "file-prefetcher.fluid.io/inject-done",
              "prometheus.fuse.fluid.io/scrape", "sluice.io/prefetch-done"});
  }

  void CheckMap(const Json& from, const Json& to, const char* map,
                std::initializer_list<const char*> ours) {
    Json added = ChildOf(to, map);
    for (const auto& [key, value] : ChildOf(from, map).items()) {
      Expect(added.contains(key) && (added[key] == value || StartsWithOne(key, ours)),
             std::string(map) + ": " + key);
      added.erase(key);
    }
    for (const auto& [key, value] : added.items()) {
      Expect(StartsWithOne(key, ours), std::string(map) + ": " + key + " is new");
    }
  }

  void CheckAffinity(const Json& from_affinity, const Json& to_affinity) {
    constexpr const char* kRequiredTerms = "requiredDuringSchedulingIgnoredDuringExecution";
    constexpr const char* kPreferredTerms = "preferredDuringSchedulingIgnoredDuringExecution";
    Expect(SameBut(from_affinity, to_affinity, {"nodeAffinity"}), "affinity");
    const Json& from = ChildOf(from_affinity, "nodeAffinity");
    const Json& to = ChildOf(to_affinity, "nodeAffinity");
    Expect(SameBut(from, to, {kRequiredTerms, kPreferredTerms}), "nodeAffinity");
    Expect(BeginsWith(ItemsOf(to, kPreferredTerms), ItemsOf(from, kPreferredTerms)),
           "preferred node affinity");
    const Json& old = ChildOf(from, kRequiredTerms);
    const Json& now = ChildOf(to, kRequiredTerms);
    Expect(SameBut(old, now, {"nodeSelectorTerms"}), "required node affinity");
    const Json& terms = ItemsOf(now, "nodeSelectorTerms");
    if (terms == ItemsOf(old, "nodeSelectorTerms")) return;
    // Each alternative of the user lives on, and none is new. Empty ones match no node.
    Json wanted = Json::array();
    for (const Json& term : ItemsOf(old, "nodeSelectorTerms")) {
      if (!IsEmptyTermOf(term)) wanted.push_back(term);
    }
    for (const Json& term : wanted) {
      Expect(std::any_of(terms.begin(), terms.end(),
                         [&](const Json& other) { return Narrows(other, term); }),
             "required node affinity: a term is gone");
    }
    for (const Json& term : terms) {
      Expect(wanted.empty() ||
                 std::any_of(wanted.begin(), wanted.end(),
                             [&](const Json& old_term) { return Narrows(term, old_term); }),
             "required node affinity: a term is new");
    }
  }

  void CheckVolumes() {
    const Json& from = Spec(from_, "volumes");
    const Json& to = Spec(to_, "volumes");
    if (from.size() > to.size()) return Expect(false, "volumes are gone");
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (to[i] == from[i]) continue;
      Expect(datasets_.contains(StringOf(from[i], "name")) &&
                 !to[i].contains("persistentVolumeClaim") &&
                 !StringOf(ChildOf(to[i], "hostPath"), "path").empty() &&
                 SameBut(from[i], to[i], {"persistentVolumeClaim", "hostPath"}),
             "volume " + from[i].dump());
    }
  }

  void CheckContainers(const char* list) {
    const Json& from = Spec(from_, list);
    std::size_t next = 0;
    for (const Json& container : Spec(to_, list)) {
      if (next < from.size() && MayBecome(from[next], container)) {
        ++next;
        continue;
      }
      const std::string name = StringOf(container, "name");
      Expect(StartsWithOne(name, {"fluid-fuse-", "init-fluid-fuse-", "fluid-file-prefetcher",
                                  "sluice-prefetch"}),
             std::string(list) + ": " + container.dump());
      for (const Json& mount : ItemsOf(container, "volumeMounts")) {
        Expect(HasVolume(StringOf(mount, "name")), name + " mounts no volume " + mount.dump());
      }
    }
    Expect(next == from.size(), std::string(list) + ": one is gone or changed");
  }

  [[nodiscard]] bool HasVolume(const std::string& name) const {
    const Json& volumes = Spec(to_, "volumes");
    return std::any_of(volumes.begin(), volumes.end(),
                       [&](const Json& volume) { return StringOf(volume, "name") == name; });
  }

  [[nodiscard]] bool MayBecome(const Json& from, const Json& to) const {
    if (from == to) return true;
    if (!SameBut(from, to, {"volumeMounts", "lifecycle"}) || !to.is_object()) return false;
    const Json& old_hooks = ChildOf(from, "lifecycle");
    const Json& hooks = ChildOf(to, "lifecycle");
    const bool keeps_hooks =
        old_hooks == hooks ||
        (ChildOf(old_hooks, "postStart").empty() && SameBut(old_hooks, hooks, {"postStart"}) &&
         ChildOf(ChildOf(hooks, "postStart"), "exec").contains("command"));
    const Json& old_mounts = ItemsOf(from, "volumeMounts");
    const Json& mounts = ItemsOf(to, "volumeMounts");
    if (!keeps_hooks || old_mounts.size() > mounts.size()) return false;
    for (std::size_t i = 0; i < old_mounts.size(); ++i) {
      const bool ours = mounted_.contains(StringOf(old_mounts[i], "name"));
      if (mounts[i] == old_mounts[i]) continue;
      if (!ours || !SameBut(old_mounts[i], mounts[i], {"mountPropagation", "readOnly"}) ||
          StringOf(mounts[i], "mountPropagation") != "HostToContainer" ||
          (FlagOf(old_mounts[i], "readOnly") && !FlagOf(mounts[i], "readOnly"))) {
        return false;
      }
    }
    return std::all_of(mounts.begin() + static_cast<std::ptrdiff_t>(old_mounts.size()),
                       mounts.end(),
                       [&](const Json& mount) { return HasVolume(StringOf(mount, "name")); });
  }

  void CheckNames() {
    if (DistinctNames({&Spec(from_, "volumes")})) {
      Expect(DistinctNames({&Spec(to_, "volumes")}).has_value(), "a volume's name is there twice");
    }
    if (DistinctNames({&Spec(from_, "containers"), &Spec(from_, "initContainers")})) {
      Expect(DistinctNames({&Spec(to_, "containers"), &Spec(to_, "initContainers")}).has_value(),
             "a container's name is there twice");
    }
  }

  const Json& from_;
  const Json& to_;
  std::set<std::string> datasets_;  // volumes that are claims of datasets
  std::set<std::string> mounted_;   // and those that such claims have become
  std::string fault_;               // the first one
};

}  // namespace

const ObjectSource& PropertyCluster() {
  static const yaml::FileObjects kCluster([] {
    Json list = Json::parse(ReadFile(GoldenRoot() + "/cluster.json"));
    for (const char* ns : {"oracle", "opted-in"}) {
      AddThinDataset(ns, "outer", "inner", list["items"]);
      AddThinDataset(ns, "inner", "", list["items"]);
    }
    return list;
  }());
  return kCluster;
}

Situation SituationOf(unsigned char choice) {
  constexpr std::array<const char*, 4> kNamespaces{"oracle", "opted-in", "oracle-ref", "opted-out"};
  Situation situation{.settings = injection::DefaultSettings(), .ns = kNamespaces[choice >> 6]};
  injection::Settings& settings = situation.settings;
  if ((choice & 1) != 0) settings.placement = injection::SidecarPlacement::kNative;
  settings.automatic_sidecar = (choice & 2) != 0;
  if ((choice & 4) != 0) settings.prefetcher_image = "prefetcher:v1";
  settings.sluice_image = "sluice:v1";
  if ((choice & 8) != 0) settings.serverless_platform_key = "platform";
  if ((choice & 16) != 0) settings.locality.preferred.push_back({"fluid.io/fuse", 1});
  if ((choice & 32) != 0) {
    settings.locality.required = {"fluid.io/node", "topology.kubernetes.io/zone"};
  }
  return situation;
}

Verdict Judge(const Json& pod, const std::string& ns, const injection::Settings& settings) {
  constexpr std::int64_t kNow = 1'700'000'000'000'000;
  constexpr std::int64_t kLater = kNow + 12'345'678;
  Verdict verdict{.outcome = InjectAt(pod, ns, settings, kNow), .fault = ""};
  const injection::Outcome& outcome = verdict.outcome;
  if (Everything(outcome) != Everything(InjectAt(pod, ns, settings, kNow))) {
    verdict.fault = "the same request has another outcome";
  } else if (outcome.refusal && (outcome.pod || !outcome.config_maps.empty())) {
    verdict.fault = "refused and patched";
  } else if (outcome.refusal && outcome.refusal->message.empty()) {
    verdict.fault = "refused without a word";
  }
  if (!verdict.fault.empty()) return verdict;
  injection::Settings lenient = settings;
  lenient.failure_policy = injection::FailurePolicy::kIgnore;
  verdict.fault = FaultWhenIgnored(outcome, InjectAt(pod, ns, lenient, kNow));
  if (!verdict.fault.empty() || !outcome.pod) return verdict;
  const Json patch = DiffJson(pod, *outcome.pod);
  if (patch.empty()) {
    verdict.fault = "patched by nothing";
  } else if (pod.patch(patch) != *outcome.pod) {
    verdict.fault = "the patch gives another pod: " + patch.dump();
  } else {
    verdict.fault = FrameFault(pod, *outcome.pod, ns);
    if (!verdict.fault.empty()) verdict.fault = "changed what is not its own: " + verdict.fault;
  }
  if (!verdict.fault.empty()) return verdict;
  const injection::Outcome second = InjectAt(*outcome.pod, ns, settings, kLater);
  if (second.refusal) {
    verdict.fault = "the second time refuses: " + second.refusal->message;
  } else if (second.pod) {
    verdict.fault = "the second time changes " + DiffJson(*outcome.pod, *second.pod).dump();
  }
  return verdict;
}

std::string FrameFault(const Json& pod, const Json& patched, const std::string& ns) {
  return Frame(pod, patched, ns).Fault();
}

}  // namespace sluice::test
