#include <array>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/injection_settings.h"

namespace sluice::injection {
namespace {

constexpr std::array<std::pair<Plugin, std::string_view>, 7> kPluginNames{{
    {Plugin::kFilePrefetcher, "FilePrefetcher"},
    {Plugin::kFuseSidecar, "FuseSidecar"},
    {Plugin::kRequireNodeWithFuse, "RequireNodeWithFuse"},
    {Plugin::kNodeAffinityWithCache, "NodeAffinityWithCache"},
    {Plugin::kMountPropagationInjector, "MountPropagationInjector"},
    {Plugin::kDatasetUsageInjector, "DatasetUsageInjector"},
    {Plugin::kPreferNodesWithoutCache, "PreferNodesWithoutCache"},
}};

}  // namespace

std::string_view ModeName(Mode mode) {
  switch (mode) {
    case Mode::kNone:
      return "none";
    case Mode::kSidecar:
      return "sidecar";
    case Mode::kCsi:
      return "csi";
  }
  return "none";
}

std::string_view PluginName(Plugin plugin) {
  for (const auto& [value, name] : kPluginNames) {
    if (value == plugin) return name;
  }
  return "";
}

Result<Plugin> PluginFromName(std::string_view name) {
  for (const auto& [value, known] : kPluginNames) {
    if (known == name) return value;
  }
  return Fail(Code::kInvalidArgument, fmt::format("unknown plugin '{}'", name));
}

Settings DefaultSettings() {
  Settings settings;
  settings.serverful = {
      .with_dataset = {Plugin::kFilePrefetcher, Plugin::kRequireNodeWithFuse,
                       Plugin::kNodeAffinityWithCache, Plugin::kMountPropagationInjector,
                       Plugin::kDatasetUsageInjector},
      .without_dataset = {Plugin::kPreferNodesWithoutCache},
  };
  settings.serverless = {
      .with_dataset = {Plugin::kFilePrefetcher, Plugin::kFuseSidecar,
                       Plugin::kDatasetUsageInjector},
      .without_dataset = {},
  };
  settings.locality = {
      .preferred = {{"fluid.io/node", 100},
                    {"topology.kubernetes.io/zone", 50},
                    {"topology.kubernetes.io/region", 20}},
      .required = {"fluid.io/node"},
  };
  // The chart's values hold the same table (a test compares them) and hand it over.
  settings.serverless_nodes = {
      .node_labels = {{"type", {"virtual-kubelet", "virtual-node"}},
                      {"eks.amazonaws.com/compute-type", {"fargate"}},
                      {"cloud.google.com/compute-class",
                       {"autopilot", "autopilot-spot", "Accelerator", "Balanced", "Performance",
                        "Scale-Out"}}},
      .pod_labels = {{"alibabacloud.com/eci", {"true"}},
                     {"alibabacloud.com/acs", {"true"}},
                     {"eks.amazonaws.com/fargate-profile", {}}},
      .namespace_labels = {{"alibabacloud.com/eci", {"true"}}},
      .taint_keys = {"virtual-kubelet.io/provider", "virtual-node.io/provider", "azure.com/aci",
                     "eks.amazonaws.com/compute-type", "eks.tke.cloud.tencent.com/eklet"},
      .node_name_prefixes = {"virtual-kubelet", "virtual-node", "fargate-", "eklet-"},
      .scheduler_names = {"fargate-scheduler"},
  };
  return settings;
}

}  // namespace sluice::injection
