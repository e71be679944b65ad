#include "sluice/csi/cluster_view.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/names.h"

namespace sluice::csi {
namespace {

constexpr const char* kGenerationLabel = "fuse.runtime.fluid.io/generation";

struct RuntimeKind {
  std::string_view mount_type;
  const char* plural;
  const char* kind;
};
// api.md 2.7: the mount type tells the runtime's kind; profiles of ThinRuntime choose their own.
constexpr std::array kRuntimeKinds = {
    RuntimeKind{"fuse.alluxio-fuse", "alluxioruntimes", "AlluxioRuntime"},
    RuntimeKind{"JuiceFS", "juicefsruntimes", "JuiceFSRuntime"},
    RuntimeKind{"jindo", "jindoruntimes", "JindoRuntime"},
    RuntimeKind{"alifuse.aliyun-alinas-efc", "efcruntimes", "EFCRuntime"},
    RuntimeKind{"vineyard-fuse", "vineyardruntimes", "VineyardRuntime"},
    RuntimeKind{"cache", "cacheruntimes", "CacheRuntime"},
};

ResourceType RuntimeTypeOf(const MountSource& source) {
  if (source.IsSluice()) return resources::kSluiceRuntime;
  for (const RuntimeKind& known : kRuntimeKinds) {
    if (known.mount_type == source.mount_type) {
      return {"data.fluid.io", "v1alpha1", known.plural, known.kind, true};
    }
  }
  return {"data.fluid.io", "v1alpha1", "thinruntimes", "ThinRuntime", true};
}

bool IsMissing(const Error& error) { return error.code == Code::kNotFound; }

std::string EscapePointer(std::string_view key) {
  std::string escaped;
  for (char c : key) {
    if (c == '~') {
      escaped += "~0";
    } else if (c == '/') {
      escaped += "~1";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

Json LabelPatch(const std::string& key, const Json& value) {
  return Json::object({{"metadata", Json::object({{"labels", Json::object({{key, value}})}})}});
}

}  // namespace

ClusterView::ClusterView(Cluster& cluster, std::string node_name, VolumeRules rules)
    : cluster_(cluster), node_name_(std::move(node_name)), rules_(std::move(rules)) {}

Result<std::string> ClusterView::DeriveNodeLabel(const MountSource& source) {
  if (!source.node_label.empty()) return source.node_label;
  const ObjectKey& runtime = source.runtime;
  if (runtime.name.empty()) return std::string();
  std::string label = names::FuseLabel(runtime.ns, runtime.name, "");
  if (label.ends_with(fmt::format("{}-{}", runtime.ns, runtime.name))) return label;
  SLUICE_TRY(dataset, cluster_.Get(resources::kDataset, runtime), "node label of the FUSE pods");
  return names::FuseLabel(runtime.ns, runtime.name, StringAt(dataset, "/metadata/uid"));
}

Result<bool> ClusterView::HasNodeLabel(const std::string& key) {
  SLUICE_TRY(node, cluster_.Get(resources::kNode, {"", node_name_}), "read labels of this node");
  return StringAt(node, "/metadata/labels/" + EscapePointer(key)) == "true";
}

Result<bool> ClusterView::SetNodeLabel(const std::string& key) {
  SLUICE_TRY(present, HasNodeLabel(key), "label node " + node_name_);
  if (present) return false;
  SLUICE_TRY(patched,
             cluster_.MergePatch(resources::kNode, {"", node_name_}, LabelPatch(key, "true")),
             fmt::format("label node {} with {}=true", node_name_, key));
  return true;
}

Status ClusterView::RemoveNodeLabel(const std::string& key) {
  Result<Json> patched =
      cluster_.MergePatch(resources::kNode, {"", node_name_}, LabelPatch(key, nullptr));
  if (patched || IsMissing(patched.error())) return Ok();
  return Fail(patched.error().Wrap(fmt::format("remove label {} from node {}", key, node_name_)));
}

Result<bool> ClusterView::VolumeExists(const std::string& volume_id) {
  Result<Json> volume = cluster_.Get(resources::kPersistentVolume, {"", volume_id});
  if (volume) return true;
  if (IsMissing(volume.error())) return false;
  return Fail(volume.error());
}

Result<std::optional<MountSource>> ClusterView::FindSource(const std::string& volume_id) {
  Result<Json> volume = cluster_.Get(resources::kPersistentVolume, {"", volume_id});
  if (!volume && IsMissing(volume.error())) return std::nullopt;
  if (!volume) return Fail(volume.error());
  RawVolume raw;
  raw.volume_id = volume_id;
  raw.has_capability = true;
  const Json& attributes = ValueAt(*volume, "/spec/csi/volumeAttributes");
  if (attributes.is_object()) {
    for (const auto& [name, value] : attributes.items()) {
      if (value.is_string()) raw.attributes[name] = value.get<std::string>();
    }
  }
  Result<VolumeRequest> request = ParseVolume(raw, rules_);
  if (!request) return std::nullopt;  // it can never have been staged
  return std::optional<MountSource>(std::move(request->source));
}

Result<RuntimeFacts> ClusterView::FindRuntime(const MountSource& source) {
  RuntimeFacts facts;
  if (source.runtime.name.empty()) return facts;
  Result<Json> runtime = cluster_.Get(RuntimeTypeOf(source), source.runtime);
  if (!runtime && IsMissing(runtime.error())) {
    facts.exists = false;
    return facts;
  }
  if (!runtime) return Fail(runtime.error());
  SLUICE_TRY(policy, ParseCleanPolicy(StringAt(*runtime, "/spec/fuse/cleanPolicy")),
             "runtime " + source.runtime.ToString());
  facts.policy = policy;
  if (policy != CleanPolicy::kOnFuseChanged) return facts;
  Result<Json> claim = cluster_.Get(resources::kPersistentVolumeClaim, source.runtime);
  if (claim) {
    facts.wanted_generation =
        StringAt(*claim, "/metadata/labels/" + EscapePointer(kGenerationLabel));
  } else if (!IsMissing(claim.error())) {
    return Fail(claim.error());
  }
  return facts;
}

}  // namespace sluice::csi
