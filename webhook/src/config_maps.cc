#include "sluice/webhook/config_maps.h"

#include <fmt/format.h>

#include "sluice/core/json_access.h"

namespace sluice::webhook {
namespace {

constexpr const char* kHash = "fluid.io/check-mount-script-sha256";
constexpr std::chrono::seconds kTrust{60};
constexpr std::size_t kMaxSeen = 4096;
constexpr int kTries = 4;

std::string HashOf(const Json& config_map) {
  return StringOf(ChildOf(ChildOf(config_map, "metadata"), "annotations"), kHash);
}

}  // namespace

Status ClusterConfigMaps::Ensure(const Json& config_map, const std::string& namespace_uid) {
  const ObjectKey key = KeyOf(config_map);
  const std::string hash = HashOf(config_map);
  if (WasSeen(key, namespace_uid, hash)) return Ok();
  Status status = Ok();
  for (int i = 0; i < kTries; ++i) {
    status = Write(key, config_map);
    if (status ||
        (status.error().code != Code::kConflict && status.error().code != Code::kAlreadyExists)) {
      break;
    }
  }
  if (!status) return Fail(status.error().Wrap(fmt::format("ConfigMap {}", key.ToString())));
  seen_.With([&](auto& seen) {
    if (seen.size() >= kMaxSeen) seen.clear();
    seen[key] = {namespace_uid, hash, clock_.Now()};
  });
  return Ok();
}

bool ClusterConfigMaps::WasSeen(const ObjectKey& key, const std::string& namespace_uid,
                                const std::string& hash) {
  return seen_.With([&](const auto& seen) {
    const auto found = seen.find(key);
    return found != seen.end() && !namespace_uid.empty() &&
           found->second.namespace_uid == namespace_uid && found->second.hash == hash &&
           clock_.Now() - found->second.at < kTrust;
  });
}

Status ClusterConfigMaps::Write(const ObjectKey& key, const Json& config_map) {
  auto current = cluster_.Get(resources::kConfigMap, key);
  if (!current) {
    if (current.error().code != Code::kNotFound) return Fail(current.error());
    auto created = cluster_.Create(resources::kConfigMap, config_map);
    if (!created) return Fail(created.error());
    return Ok();
  }
  if (HashOf(*current) == HashOf(config_map)) return Ok();
  Json wanted = *current;
  wanted["data"] = config_map["data"];
  ObjectIn(ObjectIn(wanted, "metadata"), "annotations")[kHash] = HashOf(config_map);
  auto replaced = cluster_.Replace(resources::kConfigMap, wanted);
  if (!replaced) return Fail(replaced.error());
  return Ok();
}

}  // namespace sluice::webhook
