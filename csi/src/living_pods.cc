#include "sluice/csi/living_pods.h"

#include <algorithm>
#include <map>
#include <utility>

#include "sluice/platform/safe_path.h"

namespace sluice::csi {
namespace {

constexpr std::string_view kGeneratedName = "--generate-name";
constexpr std::size_t kMaxPrefix = 58;  // the API server leaves so much of it
constexpr std::size_t kMaxEntries = 10'000;

// The kubelet makes a pod's directory of logs before the pod's sandbox, and so before any image is
// pulled or any container started. Neither the containers that have started so far nor the hosts
// file would do for a name: a sidecar may still wait for its image beside a running application,
// and a hosts file has spec.hostname, which an indexed Job sets.
Result<std::map<std::string, std::string>> NamesByUid(const std::string& pod_logs) {
  SLUICE_TRY(directories, platform::ListNames(pod_logs, pod_logs, kMaxEntries), "names of pods");
  std::map<std::string, std::string> names;
  for (const std::string& directory : directories) {
    // No part may contain "_", by the rules of the API.
    const std::size_t first = directory.find('_');
    const std::size_t last = directory.rfind('_');
    if (first == last) continue;
    names[directory.substr(last + 1)] = directory.substr(first + 1, last - first - 1);
  }
  return names;
}

// True when no container of the pod can have started: then nothing of it can be in use.
bool NothingStarted(const LivingPods::Places& places, const std::string& pod_directory) {
  const auto containers =
      platform::ListNames(places.kubelet_root, pod_directory + "/containers", kMaxEntries);
  return containers ? containers->empty() : containers.error().code == Code::kNotFound;
}

}  // namespace

LivingPods LivingPods::Find(const Places& places) {
  LivingPods found;
  const std::string root = places.kubelet_root + "/pods";
  // In this order: whoever is seen to live has had the time to get a name.
  const auto uids = platform::ListNames(places.kubelet_root, root, kMaxEntries);
  const auto names = NamesByUid(places.pod_logs);
  found.unknown_ = !uids || !names;
  if (found.unknown_) return found;
  for (const std::string& uid : *uids) {
    if (const auto name = names->find(uid); name != names->end()) {
      found.names_.push_back(name->second);
    } else if (!NothingStarted(places, root + "/" + uid)) {
      found.unknown_ = true;
    }
  }
  return found;
}

bool LivingPods::MayHave(std::string_view pod) const {
  if (unknown_) return true;
  if (pod.ends_with(kGeneratedName)) {
    const std::string_view prefix =
        pod.substr(0, std::min(pod.size() - kGeneratedName.size(), kMaxPrefix));
    return std::ranges::any_of(names_,
                               [&](const std::string& name) { return name.starts_with(prefix); });
  }
  return std::ranges::find(names_, pod) != names_.end();
}

}  // namespace sluice::csi
