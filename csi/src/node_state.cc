#include "sluice/csi/node_state.h"

#include <algorithm>

namespace sluice::csi {
namespace {

constexpr int kStateVersion = 1;

bool FlagAt(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_boolean() && found->get<bool>();
}

Json RenderTarget(const PublishedTarget& target) {
  return Json::object({{"volume", target.volume_id},
                       {"subPath", target.sub_path},
                       {"symlink", target.method == PublishMethod::kSymlink},
                       {"readOnly", target.read_only}});
}

PublishedTarget ParseTarget(const Json& json) {
  return {.volume_id = StringAt(json, "/volume"),
          .sub_path = StringAt(json, "/subPath"),
          .method = FlagAt(json, "symlink") ? PublishMethod::kSymlink : PublishMethod::kBind,
          .read_only = FlagAt(json, "readOnly"),
          .complete = true};
}

}  // namespace

bool SharedMount::UsedBy(const std::string& volume_id) const {
  return std::any_of(targets.begin(), targets.end(),
                     [&](const auto& target) { return target.second.volume_id == volume_id; });
}

bool SharedMount::UsedByOthers(const std::string& volume_id) const {
  return std::any_of(targets.begin(), targets.end(),
                     [&](const auto& target) { return target.second.volume_id != volume_id; });
}

Json RenderSharedMount(const SharedMount& mount) {
  Json targets = Json::object();
  for (const auto& [path, target] : mount.targets) {
    if (target.complete) targets[path] = RenderTarget(target);
  }
  return Json::object({{"version", kStateVersion},
                       {"key", mount.source.key},
                       {"mountPoint", mount.source.mount_point},
                       {"mountType", mount.source.mount_type},
                       {"runtimeNamespace", mount.source.runtime.ns},
                       {"runtimeName", mount.source.runtime.name},
                       {"nodeLabel", mount.source.node_label},
                       {"readerOnly", mount.reader_only},
                       {"volumes", mount.volumes},
                       {"unlabelPending", mount.unlabel_pending},
                       {"targets", targets}});
}

Result<SharedMount> ParseSharedMount(const Json& json) {
  const Json& version = ValueAt(json, "/version");
  if (!version.is_number_integer() || version.get<int>() != kStateVersion) {
    return Fail(Code::kInvalidArgument, "mount state: unknown version");
  }
  SharedMount mount;
  mount.source = {.key = StringAt(json, "/key"),
                  .mount_point = StringAt(json, "/mountPoint"),
                  .mount_type = StringAt(json, "/mountType"),
                  .runtime = {StringAt(json, "/runtimeNamespace"), StringAt(json, "/runtimeName")},
                  .node_label = StringAt(json, "/nodeLabel")};
  if (mount.source.key.empty() || mount.source.mount_point.empty()) {
    return Fail(Code::kInvalidArgument, "mount state: key or mountPoint is missing");
  }
  mount.reader_only = FlagAt(json, "readerOnly");
  mount.unlabel_pending = FlagAt(json, "unlabelPending");
  for (const Json& volume : ValueAt(json, "/volumes")) {
    if (volume.is_string()) mount.volumes.insert(volume.get<std::string>());
  }
  const Json& targets = ValueAt(json, "/targets");
  if (targets.is_object()) {
    for (const auto& [path, target] : targets.items()) mount.targets[path] = ParseTarget(target);
  }
  return mount;
}

MountStep NextStep(const MountFacts& facts, const MountLimits& limits) {
  if (facts.unlabel_pending && !facts.in_use) {
    return facts.mounted || facts.offered ? MountStep::kRemove : MountStep::kUnlabel;
  }
  const bool unwanted = facts.labelled == false || facts.volume_exists == false;
  if (!facts.in_use && (unwanted || (!facts.mounted && !facts.offered))) return MountStep::kRemove;
  if (!facts.offered) return facts.mounted ? MountStep::kAdopt : MountStep::kAttach;
  if (!facts.mounted) return MountStep::kReattach;
  if (!facts.has_device && facts.without_device >= limits.recover_timeout) {
    return MountStep::kReattach;
  }
  if (facts.stale_targets && facts.ready) return MountStep::kRebind;
  return MountStep::kNone;
}

}  // namespace sluice::csi
