#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"

#include "plan/plan_parts.h"

namespace sluice::plan {
namespace {

constexpr const char* kSecretVolume = "sluice-secrets";
constexpr int kReadableByAll = 0444;  // the client runs as a user of its own

using Placeholders = std::map<std::string, std::string>;

Placeholders PlaceholdersOf(const FusePodInput& input) {
  const RuntimeIdentity& identity = input.identity;
  const auto slash = identity.mount_path.rfind('/');
  return {{"type", input.plan.profile.type},
          {"namespace", identity.ns},
          {"name", identity.name},
          {"fuseLabel", identity.fuse_label},
          {"configMap", identity.config_map},
          {"mountPath", identity.mount_path},
          {"mountDirectory", identity.mount_path.substr(0, slash)},
          {"brokerDirectory", fmt::format("{}/{}", names::kBrokerRoot,
                                          names::BrokerDirectory(identity.persistent_volume))}};
}

std::string Fill(const std::string& text, const Placeholders& placeholders) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t begin = text.find("${", at);
    const std::size_t end = begin == std::string::npos ? begin : text.find('}', begin);
    if (end == std::string::npos) break;
    const auto value = placeholders.find(text.substr(begin + 2, end - begin - 2));
    out += text.substr(at, begin - at);
    out += value == placeholders.end() ? text.substr(begin, end - begin + 1) : value->second;
    at = end + 1;
  }
  return at < text.size() ? out + text.substr(at) : out;
}

// In keys as well: labels of a node selector are keys.
Json FillAll(const Json& value, const Placeholders& placeholders) {
  if (value.is_string()) return Fill(value.get<std::string>(), placeholders);
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& item : value) out.push_back(FillAll(item, placeholders));
    return out;
  }
  if (!value.is_object()) return value;
  Json out = Json::object();
  for (const auto& [key, item] : value.items()) {
    out[Fill(key, placeholders)] = FillAll(item, placeholders);
  }
  return out;
}

std::string ImageOf(const Json& fuse, const PlanSettings& settings) {
  const std::string image = StringOf(fuse, "image");
  const std::string tag = StringOf(fuse, "imageTag");
  if (image.empty()) return settings.fuse_image;
  return tag.empty() ? image : image + ":" + tag;
}

// A list of EnvVar, or a map as some Fluid runtimes have it.
void AppendEnv(const Json& fuse, Json& container) {
  Json& list = ListIn(container, "env");
  for (const Json& variable : ItemsOf(fuse, "env")) list.push_back(variable);
  for (const auto& [name, value] : ChildOf(fuse, "env").items()) {
    list.push_back({{"name", name}, {"value", value}});
  }
}

void AppendAll(const Json& from, Json& to) {
  for (const Json& item : from) to.push_back(item);
}

Json SecretVolume(const std::map<std::string, std::set<std::string>>& secret_keys) {
  Json sources = Json::array();
  for (const auto& [secret, keys] : secret_keys) {
    Json items = Json::array();
    for (const std::string& key : keys) {
      items.push_back({{"key", key}, {"path", secret + "/" + key}});
    }
    sources.push_back({{"secret", {{"name", secret}, {"items", std::move(items)}}}});
  }
  return {{"name", kSecretVolume},
          {"projected", {{"defaultMode", kReadableByAll}, {"sources", std::move(sources)}}}};
}

// The runtime's own metadata for all pods, then that of the fuse block, which wins.
void MergeMetadata(const Json& runtime_spec, Json& metadata) {
  for (const Json* block : {&ChildOf(runtime_spec, "podMetadata"),
                            &ChildOf(ChildOf(runtime_spec, "fuse"), "podMetadata")}) {
    for (const char* kind : {"labels", "annotations"}) {
      for (const auto& [key, value] : ChildOf(*block, kind).items()) {
        ObjectIn(metadata, kind)[key] = value;
      }
    }
  }
}

void AddVolumes(const FusePodInput& input, Json& spec, Json& container) {
  Json& volumes = ListIn(spec, "volumes");
  Json& mounts = ListIn(container, "volumeMounts");
  if (input.cache.volume.is_object()) {
    volumes.push_back(input.cache.volume);
    mounts.push_back({{"name", StringOf(input.cache.volume, "name")},
                      {"mountPath", input.plan.profile.cache_path}});
  }
  if (!input.secret_keys.empty()) {
    volumes.push_back(SecretVolume(input.secret_keys));
    mounts.push_back(
        {{"name", kSecretVolume}, {"mountPath", names::kSecretRoot}, {"readOnly", true}});
  }
  AppendAll(input.sources.volumes, volumes);
  AppendAll(input.sources.volume_mounts, mounts);
  const Json& runtime_spec = ChildOf(input.plan.runtime, "spec");
  AppendAll(ItemsOf(runtime_spec, "volumes"), volumes);
  AppendAll(ItemsOf(ChildOf(runtime_spec, "fuse"), "volumeMounts"), mounts);
}

}  // namespace

Json RenderFusePod(const FusePodInput& input, const Json& pod_template) {
  const Json& runtime_spec = ChildOf(input.plan.runtime, "spec");
  const Json& fuse = ChildOf(runtime_spec, "fuse");
  Json pod = FillAll(pod_template, PlaceholdersOf(input));
  Json& spec = ObjectIn(pod, "spec");
  Json& container = spec["containers"].front();
  container["image"] = ImageOf(fuse, input.plan.settings);
  const std::string policy = StringOf(fuse, "imagePullPolicy");
  container["imagePullPolicy"] = policy.empty() ? input.plan.settings.fuse_pull_policy : policy;
  container["resources"] = input.cache.resources;
  AppendEnv(fuse, container);
  AddVolumes(input, spec, container);
  MergeMetadata(runtime_spec, ObjectIn(pod, "metadata"));
  if (const Json& secrets = ItemsOf(runtime_spec, "imagePullSecrets"); !secrets.empty()) {
    spec["imagePullSecrets"] = secrets;
  }
  if (spec.contains("nodeSelector")) {
    for (const auto& [key, value] : ChildOf(fuse, "nodeSelector").items()) {
      spec["nodeSelector"].emplace(key, value);
    }
    if (input.plan.settings.critical_fuse_pod) spec["priorityClassName"] = "system-node-critical";
  }
  return pod;
}

SourcePlan PlanSources(std::vector<MountConfig>& mounts) {
  SourcePlan plan;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const auto uri = ParseMountUri(mounts[i].mount_point);
    if (!uri) continue;  // validated before
    const std::string volume = fmt::format("sluice-source-{}", i);
    const std::string inside = fmt::format("/sources/{}", i);
    if (uri->scheme == "file" || uri->scheme == "local") {
      plan.volumes.push_back(
          {{"name", volume}, {"hostPath", {{"path", uri->path}, {"type", "Directory"}}}});
      mounts[i].mount_point = "file://" + inside;
    } else if (uri->scheme == "pvc") {
      plan.volumes.push_back(
          {{"name", volume},
           {"persistentVolumeClaim", {{"claimName", uri->authority}, {"readOnly", true}}}});
      mounts[i].mount_point =
          uri->path.empty() ? "file://" + inside : fmt::format("file://{}/{}", inside, uri->path);
    } else {
      continue;
    }
    plan.volume_mounts.push_back({{"name", volume}, {"mountPath", inside}, {"readOnly", true}});
  }
  return plan;
}

}  // namespace sluice::plan
