// What an administrator can decide about pod admission. All of it is data; the defaults are those
// of the compatible contract.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"

namespace sluice::injection {

enum class Mode {
  kNone,     // nothing of ours in this pod
  kSidecar,  // the FUSE client runs inside the pod
  kCsi,      // the node plugin mounts; the pod is only placed and told
};
std::string_view ModeName(Mode mode);  // "none", "sidecar", "csi"

enum class SidecarPlacement {
  kLegacy,  // an ordinary container, put first
  kNative,  // an init container with restartPolicy Always
};

// What becomes of a pod when a step of its injection fails.
enum class FailurePolicy {
  kFail,    // it is refused
  kIgnore,  // it is admitted as it is, with a warning
};

enum class Plugin {
  kFilePrefetcher,
  kFuseSidecar,
  kRequireNodeWithFuse,
  kNodeAffinityWithCache,
  kMountPropagationInjector,
  kDatasetUsageInjector,
  kPreferNodesWithoutCache,
};
std::string_view PluginName(Plugin plugin);
Result<Plugin> PluginFromName(std::string_view name);

struct PluginLists {
  std::vector<Plugin> with_dataset;
  std::vector<Plugin> without_dataset;
};

// Where a dataset's cache is, from near to far. `fluid.io/node` and `fluid.io/fuse` stand for the
// labels of nodes with the dataset's cache worker and FUSE pod; any other name is a node label.
struct LocalityTier {
  std::string name;
  int weight = 0;
};
struct LocalityConfig {
  std::vector<LocalityTier> preferred;
  std::vector<std::string> required;
};

// How to recognise a pod that is bound for a node where no node plugin can run. An empty value
// list accepts any value.
struct ServerlessTable {
  std::map<std::string, std::vector<std::string>> node_labels;  // nodeSelector, required affinity
  std::map<std::string, std::vector<std::string>> pod_labels;
  std::map<std::string, std::vector<std::string>> namespace_labels;  // but of pods without the key
  std::vector<std::string> taint_keys;                               // tolerated by name
  std::vector<std::string> node_name_prefixes;  // nodeName, or affinity to metadata.name
  std::vector<std::string> scheduler_names;

  bool operator==(const ServerlessTable&) const = default;
};

struct Settings {
  bool disabled = false;  // admit everything untouched
  FailurePolicy failure_policy = FailurePolicy::kFail;
  SidecarPlacement placement = SidecarPlacement::kLegacy;
  std::string prefetcher_image;         // repo:tag, for Fluid's annotations that name none
  std::string sluice_image;             // ours, whose sluice-prefetch stands in for that one
  std::string serverless_platform_key;  // deprecated label key that enables sidecar mode
  bool automatic_sidecar = false;       // automatic mode is always sidecar mode
  PluginLists serverful;
  PluginLists serverless;
  LocalityConfig locality;
  ServerlessTable serverless_nodes;
};

Settings DefaultSettings();

}  // namespace sluice::injection
