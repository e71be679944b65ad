// Any text as the values of the contract's labels and annotations, and as the pod's names. The
// first byte chooses settings and namespace, the second the mode; then values end in NUL, one for
// each row below; an empty one sets nothing, and "=" alone sets the empty value.
#include <array>
#include <string>
#include <string_view>

#include "judge_pod.h"
#include "keys.h"

namespace {

namespace keys = sluice::injection::keys;
using sluice::Json;

struct Row {
  const char* map;  // of metadata; null: a field of metadata itself
  const char* key;
};

constexpr const char* kLabels = "labels";
constexpr const char* kAnnotations = "annotations";
constexpr std::array<Row, 31> kRows{{
    {kAnnotations, keys::kPrefetchFileList},
    {kAnnotations, keys::kPrefetchAsync},
    {kAnnotations, keys::kPrefetchTimeout},
    {kAnnotations, keys::kPrefetchExtraEnvs},
    {kAnnotations, keys::kPrefetchImage},
    {kAnnotations, keys::kPrefetchDone},
    {kAnnotations, keys::kDatasetsInUse},
    {kAnnotations, keys::kHostPathMode},
    {kAnnotations, keys::kPlatform},
    {kAnnotations, keys::kSkipPrecheck},
    {kAnnotations, keys::kScrape},
    {nullptr, "name"},
    {nullptr, "generateName"},
    {nullptr, "namespace"},
    {kLabels, keys::kInjectDone},
    {kLabels, keys::kEnableInjection},
    {kLabels, keys::kCacheDirInject},
    {kLabels, keys::kFusePostStart},
    {kLabels, keys::kAppPostStart},
    {kLabels, keys::kUnprivilegedInject},
    {kLabels, keys::kDeprecatedSidecarInject},
    {kLabels, keys::kManagedBy},
    {kLabels, "fluid.io/dataset.jfs.sched"},
    {kLabels, "fluid.io/dataset.alx2.sched"},
    {kLabels, "dataset-name.sidecar.fluid.io/fluid-fuse-0"},
    {kLabels, "platform"},
    {kLabels, keys::kServerlessInject},
    {kLabels, keys::kServerfulInject},
    {kAnnotations, keys::kSluicePrefetch},
    {kAnnotations, keys::kSluicePrefetchMode},
    {kAnnotations, keys::kSluicePrefetchTimeout},
}};

Json FixedPod() {
  return Json::parse(R"({
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "labels": {}, "annotations": {}},
    "spec": {
      "initContainers": [{"name": "prepare", "image": "i",
                          "volumeMounts": [{"name": "b", "mountPath": "/b"}]}],
      "containers": [{"name": "app", "image": "i",
                      "volumeMounts": [{"name": "a", "mountPath": "/a"},
                                       {"name": "a2", "mountPath": "/a2", "readOnly": true},
                                       {"name": "b", "mountPath": "/b", "subPath": "x"}]},
                     {"name": "beside", "image": "i"}],
      "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "jfs"}},
                  {"name": "b", "persistentVolumeClaim": {"claimName": "alx2"}},
                  {"name": "a2", "persistentVolumeClaim": {"claimName": "jfs"}},
                  {"name": "tmp", "emptyDir": {}}]}})");
}

// Bytes as Latin-1: a label is always text by the time injection sees it.
std::string Text(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xC0U | (byte >> 6U));
      text += static_cast<char>(0x80U | (byte & 0x3FU));
    }
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const sluice::test::Situation situation = sluice::test::SituationOf(data[0]);
  Json pod = FixedPod();
  Json& metadata = pod["metadata"];
  if (data[1] % 3 != 0) {
    metadata[kLabels][data[1] % 3 == 1 ? keys::kServerlessInject : keys::kServerfulInject] = "true";
  }
  if ((data[1] & 0x80U) == 0) metadata[kAnnotations][keys::kPrefetch] = "true";
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  for (const Row& row : kRows) {
    const std::string_view value = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(value.size() + 1, rest.size()));
    if (value.empty()) continue;
    (row.map == nullptr ? metadata : metadata[row.map])[row.key] = value == "=" ? "" : Text(value);
  }
  sluice::test::JudgePod(pod, situation.ns, situation.settings);
  return 0;
}
