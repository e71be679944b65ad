#include "sluice/csi/leftover_directories.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace sluice::csi {
namespace {

constexpr unsigned kLevels = 5;  // type, namespace, dataset, pod, and the directory itself
constexpr std::size_t kHexDigits = 8;

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

LeftoverDirectories::LeftoverDirectories(LeftoverOptions options, Mounter& mounter,
                                         const Clock& clock, platform::Log log)
    : options_(std::move(options)), mounter_(mounter), clock_(clock), log_(std::move(log)) {}

void LeftoverDirectories::Collect(const std::string& path, unsigned levels,
                                  std::vector<std::string>& found) {
  // Whatever cannot be listed (a file, a mount, gone meanwhile) is no place of a pod's directory.
  const auto names = mounter_.List(options_.mount_root, path);
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
  const auto names = mounter_.List(options_.mount_root, directory);
  return names && std::ranges::all_of(*names, [&](const std::string& name) {
           const auto below = mounter_.List(options_.mount_root, directory + "/" + name);
           return below && below->empty();
         });
}

Status LeftoverDirectories::Remove(const std::string& directory) {
  const std::string& root = options_.mount_root;
  SLUICE_TRY(names, mounter_.List(root, directory), "left-over directory");
  for (const std::string& name : names) {
    SLUICE_CHECK(mounter_.Remove(root, directory + "/" + name), "left-over directory");
  }
  SLUICE_CHECK(mounter_.Remove(root, directory), "left-over directory");
  // That of the pod's name: fails, and rightly, while another pod of this name has one in it.
  (void)mounter_.Remove(root, directory.substr(0, directory.rfind('/')));
  return Ok();
}

void LeftoverDirectories::Sweep() {
  std::vector<std::string> directories;
  Collect(options_.mount_root, kLevels, directories);
  const auto now = clock_.Now();
  decltype(idle_since_) idle;
  std::size_t removed = 0;
  for (const std::string& directory : directories) {
    if (!IsIdle(directory)) continue;
    const auto known = idle_since_.find(directory);
    const auto since = known == idle_since_.end() ? now : known->second;
    if (now - since >= options_.idle_time && Remove(directory)) {
      ++removed;
    } else {
      idle.emplace(directory, since);
    }
  }
  idle_since_ = std::move(idle);
  if (removed > 0) log_.Info("directories of ended sidecars removed", {{"count", removed}});
}

}  // namespace sluice::csi
