#include <initializer_list>
#include <map>
#include <string>

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

void AppendAll(const Json& from, Json& to) {
  for (const Json& item : from) to.push_back(item);
}

// Of the controller's making: without workers there is none, and no pod may wait for it.
Json OptionalSecret(const std::string& secret, std::initializer_list<const char*> keys) {
  Json items = Json::array();
  for (const char* key : keys) {
    items.push_back({{"key", key}, {"path", fmt::format("{}/{}", secret, key)}});
  }
  return {{"secret", {{"name", secret}, {"optional", true}, {"items", std::move(items)}}}};
}

Json SecretVolume(const FusePodInput& input) {
  Json sources = Json::array();
  for (const auto& [secret, keys] : input.secret_keys) {
    Json items = Json::array();
    for (const std::string& key : keys) {
      items.push_back({{"key", key}, {"path", secret + "/" + key}});
    }
    sources.push_back({{"secret", {{"name", secret}, {"items", std::move(items)}}}});
  }
  const RuntimeIdentity& identity = input.identity;
  const PoolSecurity& security = input.pool_security;
  if (security.authentication) {
    sources.push_back(OptionalSecret(identity.worker_secret, {kWorkerSecretKey}));
  }
  if (security.tls) {
    sources.push_back(OptionalSecret(identity.client_tls, {"ca.crt", "tls.crt", "tls.key"}));
  }
  if (security.encryption) sources.push_back(OptionalSecret(identity.pool_key, {kPoolKeyKey}));
  return {{"name", kSecretVolume},
          {"projected", {{"defaultMode", kReadableByAll}, {"sources", std::move(sources)}}}};
}

void AddVolumes(const FusePodInput& input, Json& spec, Json& container) {
  Json& volumes = ListIn(spec, "volumes");
  Json& mounts = ListIn(container, "volumeMounts");
  if (input.cache.volume.is_object()) {
    volumes.push_back(input.cache.volume);
    mounts.push_back({{"name", StringOf(input.cache.volume, "name")},
                      {"mountPath", input.plan.profile.cache_path}});
  }
  Json secrets = SecretVolume(input);
  if (!ItemsOf(secrets["projected"], "sources").empty()) {
    volumes.push_back(std::move(secrets));
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

void SetImage(const Json& block, const DefaultImage& otherwise, Json& container) {
  const std::string image = StringOf(block, "image");
  const std::string tag = StringOf(block, "imageTag");
  const std::string policy = StringOf(block, "imagePullPolicy");
  const std::string own = tag.empty() ? image : image + ":" + tag;
  container["image"] = image.empty() ? otherwise.image : own;
  container["imagePullPolicy"] = policy.empty() ? otherwise.pull_policy : policy;
}

void AppendEnv(const Json& block, Json& container) {
  Json& list = ListIn(container, "env");
  for (const Json& variable : ItemsOf(block, "env")) list.push_back(variable);
  for (const auto& [name, value] : ChildOf(block, "env").items()) {
    list.push_back({{"name", name}, {"value", value}});
  }
}

void SetPullSecrets(const Json& runtime_spec, Json& pod_spec) {
  if (const Json& secrets = ItemsOf(runtime_spec, "imagePullSecrets"); !secrets.empty()) {
    pod_spec["imagePullSecrets"] = secrets;
  }
}

void MergeMetadata(const Json& runtime_spec, const Json& block, Json& metadata) {
  for (const Json* from : {&ChildOf(runtime_spec, "podMetadata"), &ChildOf(block, "podMetadata")}) {
    for (const char* kind : {"labels", "annotations"}) {
      for (const auto& [key, value] : ChildOf(*from, kind).items()) {
        ObjectIn(metadata, kind)[key] = value;
      }
    }
  }
}

Json RenderFusePod(const FusePodInput& input, const Json& pod_template) {
  const Json& runtime_spec = ChildOf(input.plan.runtime, "spec");
  const Json& fuse = ChildOf(runtime_spec, "fuse");
  Json pod = FillAll(pod_template, PlaceholdersOf(input));
  Json& spec = ObjectIn(pod, "spec");
  Json& container = spec["containers"].front();
  const PlanSettings& settings = input.plan.settings;
  SetImage(fuse, {.image = settings.fuse_image, .pull_policy = settings.fuse_pull_policy},
           container);
  container["resources"] = input.cache.resources;
  AppendEnv(fuse, container);
  AddVolumes(input, spec, container);
  MergeMetadata(runtime_spec, fuse, ObjectIn(pod, "metadata"));
  SetPullSecrets(runtime_spec, spec);
  if (spec.contains("nodeSelector")) {
    for (const auto& [key, value] : ChildOf(fuse, "nodeSelector").items()) {
      spec["nodeSelector"].emplace(key, value);
    }
    if (settings.critical_fuse_pod) spec["priorityClassName"] = "system-node-critical";
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
           {"persistentVolumeClaim",
            {{"claimName", uri->authority}, {"readOnly", mounts[i].read_only}}}});
      mounts[i].mount_point =
          uri->path.empty() ? "file://" + inside : fmt::format("file://{}/{}", inside, uri->path);
    } else {
      continue;
    }
    plan.volume_mounts.push_back(
        {{"name", volume}, {"mountPath", inside}, {"readOnly", mounts[i].read_only}});
  }
  return plan;
}

}  // namespace sluice::plan
