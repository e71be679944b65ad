#include "sluice/csi/leftover_directories.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

namespace sluice::csi {
namespace {

constexpr unsigned kLevels = 5;  // type, namespace, dataset, pod, and the directory itself
constexpr std::size_t kHexDigits = 8;
constexpr const char* kStateKey = "idle-since";

// "<microseconds>-<8 hex digits>", as UniqueNames::HostDirectory writes it.
bool IsNameOfOnePod(std::string_view name) {
  const auto all_of = [](std::string_view text, std::string_view allowed) {
    return text.find_first_not_of(allowed) == std::string_view::npos;
  };
  const std::size_t dash = name.find('-');
  return dash != std::string_view::npos && dash > 0 && name.size() == dash + 1 + kHexDigits &&
         all_of(name.substr(0, dash), "0123456789") &&
         all_of(name.substr(dash + 1), "0123456789abcdef");
}

}  // namespace

LeftoverDirectories::LeftoverDirectories(LeftoverOptions options, Parts parts)
    : options_(std::move(options)), parts_(std::move(parts)), files_(options_.state_directory) {}

Status LeftoverDirectories::Load() {
  SLUICE_CHECK(files_.Open(), "left-over directories");
  SLUICE_TRY(loaded, files_.LoadAll(), "left-over directories");
  for (const Json& document : loaded.documents) {
    for (const auto& [directory, seconds] : document.items()) {
      if (!seconds.is_number_integer()) continue;
      // A clock that was set back meanwhile makes nothing older than it is.
      const auto idle = std::clamp<std::chrono::system_clock::duration>(
          parts_.clock.WallNow() - std::chrono::system_clock::time_point(
                                       std::chrono::seconds(seconds.get<std::int64_t>())),
          std::chrono::seconds(0), options_.idle_time);
      idle_since_[directory] = parts_.clock.Now() - idle;
    }
  }
  return Ok();
}

void LeftoverDirectories::Save() {
  Json document = Json::object();
  for (const auto& [directory, since] : idle_since_) {
    const auto wall = parts_.clock.WallNow() - (parts_.clock.Now() - since);
    document[directory] = std::chrono::floor<std::chrono::seconds>(wall.time_since_epoch()).count();
  }
  if (const Status saved = files_.Save(kStateKey, document); !saved) {
    parts_.log.Warn("idle directories not saved", {{"error", saved.error().message}});
  }
}

void LeftoverDirectories::Collect(const std::string& path, unsigned levels,
                                  std::vector<std::string>& found) {
  // Whatever cannot be listed (a file, a mount, gone meanwhile) is no place of a pod's directory.
  const auto names = parts_.mounter.List(options_.mount_root, path);
  if (!names) return;
  for (const std::string& name : *names) {
    const std::string child = path + "/" + name;
    if (levels > 1) {
      Collect(child, levels - 1, found);
    } else if (IsNameOfOnePod(name)) {
      found.push_back(child);
    }
  }
}

bool LeftoverDirectories::IsIdle(const std::string& directory) {
  const auto names = parts_.mounter.List(options_.mount_root, directory);
  return names && std::ranges::all_of(*names, [&](const std::string& name) {
           const auto below = parts_.mounter.List(options_.mount_root, directory + "/" + name);
           return below && below->empty();
         });
}

Status LeftoverDirectories::Remove(const std::string& directory) {
  const std::string& root = options_.mount_root;
  SLUICE_TRY(names, parts_.mounter.List(root, directory), "left-over directory");
  for (const std::string& name : names) {
    SLUICE_CHECK(parts_.mounter.Remove(root, directory + "/" + name), "left-over directory");
  }
  SLUICE_CHECK(parts_.mounter.Remove(root, directory), "left-over directory");
  // That of the pod's name: fails, and rightly, while another pod of this name has one in it.
  (void)parts_.mounter.Remove(root, directory.substr(0, directory.rfind('/')));
  return Ok();
}

bool LeftoverDirectories::OwnerMayLive(const std::string& directory) const {
  const std::string of_name = directory.substr(0, directory.rfind('/'));
  return parts_.pod_may_live(std::string_view(of_name).substr(of_name.rfind('/') + 1));
}

void LeftoverDirectories::Sweep() {
  std::vector<std::string> directories;
  Collect(options_.mount_root, kLevels, directories);
  const auto now = parts_.clock.Now();
  Times idle;
  std::size_t removed = 0;
  for (const std::string& directory : directories) {
    if (!IsIdle(directory)) continue;
    const auto known = idle_since_.find(directory);
    const auto since = known == idle_since_.end() ? now : known->second;
    if (now - since >= options_.idle_time && !OwnerMayLive(directory) && Remove(directory)) {
      ++removed;
    } else {
      idle.emplace(directory, since);
    }
  }
  if (std::exchange(idle_since_, std::move(idle)) != idle_since_) Save();
  if (removed > 0) parts_.log.Info("directories of ended sidecars removed", {{"count", removed}});
}

}  // namespace sluice::csi
