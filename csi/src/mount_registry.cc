#include "sluice/csi/mount_registry.h"

#include <utility>

namespace sluice::csi {
namespace {

template <typename Predicate>
std::optional<SharedMount> FirstWith(
    const platform::Guarded<std::map<std::string, SharedMount>>& in, Predicate&& matches) {
  return in.With([&](const auto& mounts) -> std::optional<SharedMount> {
    for (const auto& [key, mount] : mounts) {
      if (matches(mount)) return mount;
    }
    return std::nullopt;
  });
}

}  // namespace

MountRegistry::MountRegistry(std::string state_directory, platform::Log log)
    : log_(std::move(log)), files_(std::move(state_directory)) {}

Status MountRegistry::Load() {
  SLUICE_CHECK(files_.Open(), "state directory");
  SLUICE_TRY(loaded, files_.LoadAll(), "state directory");
  for (const std::string& file : loaded.damaged) {
    log_.Warn("damaged mount state ignored", {{"file", file}});
  }
  for (const Json& document : loaded.documents) {
    Result<SharedMount> mount = ParseSharedMount(document);
    if (!mount) {
      log_.Warn("mount state ignored", {{"error", mount.error().message}});
      continue;
    }
    mounts_.With([&](auto& mounts) { mounts[mount->source.key] = *mount; });
  }
  return Ok();
}

std::optional<SharedMount> MountRegistry::Find(const std::string& key) const {
  return FirstWith(mounts_, [&](const SharedMount& mount) { return mount.source.key == key; });
}

std::optional<SharedMount> MountRegistry::FindByVolume(const std::string& volume_id) const {
  return FirstWith(mounts_,
                   [&](const SharedMount& mount) { return mount.volumes.contains(volume_id); });
}

std::optional<SharedMount> MountRegistry::FindByTarget(const std::string& target_path) const {
  return FirstWith(mounts_,
                   [&](const SharedMount& mount) { return mount.targets.contains(target_path); });
}

std::vector<SharedMount> MountRegistry::All() const {
  return mounts_.With([](const auto& mounts) {
    std::vector<SharedMount> all;
    all.reserve(mounts.size());
    for (const auto& [key, mount] : mounts) all.push_back(mount);
    return all;
  });
}

void MountRegistry::Enter(const SharedMount& mount,
                          const std::function<void(SharedMount&)>& change) {
  const std::string& key = mount.source.key;
  mounts_.With([&](auto& mounts) { change(mounts.try_emplace(key, mount).first->second); });
  Save(key);
}

void MountRegistry::Change(const std::string& key,
                           const std::function<void(SharedMount&)>& change) {
  mounts_.With([&](auto& mounts) {
    if (const auto found = mounts.find(key); found != mounts.end()) change(found->second);
  });
  Save(key);
}

bool MountRegistry::ForgetUnused(const std::string& key) {
  const bool forgotten = mounts_.With([&](auto& mounts) {
    const auto found = mounts.find(key);
    if (found != mounts.end() && !found->second.targets.empty()) return false;
    if (found != mounts.end() && !found->second.unlabel_pending) mounts.erase(found);
    return true;
  });
  if (forgotten) Save(key);
  return forgotten;
}

void MountRegistry::Save(const std::string& key) {
  const std::lock_guard lock(save_mutex_);
  const std::optional<SharedMount> mount = Find(key);
  const Status saved = mount ? files_.Save(key, RenderSharedMount(*mount)) : files_.Remove(key);
  if (!saved)
    log_.Warn("mount state not saved", {{"mount", key}, {"error", saved.error().message}});
}

}  // namespace sluice::csi
