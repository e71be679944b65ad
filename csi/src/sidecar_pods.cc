#include "sluice/csi/sidecar_pods.h"

#include <algorithm>
#include <sstream>

#include "sluice/platform/safe_path.h"

namespace sluice::csi {
namespace {

// Containers that the webhook adds; the kubelet makes a directory for each that it has started.
constexpr std::string_view kSidecarPrefix = "fluid-fuse";
constexpr std::string_view kGeneratedName = "--generate-name";
constexpr std::size_t kMaxPrefix = 58;  // the API server leaves so much of it
constexpr std::size_t kMaxHostName = 63;
constexpr std::size_t kMaxEntries = 10'000;
constexpr std::size_t kMaxHostsFile = 1 << 20;

bool IsMissingPath(const Error& error) { return error.code == Code::kNotFound; }

// The name that the kubelet gave the pod in its hosts file: the last word of the line that it added
// itself, "<address>\t<name>[.<domain>\t<name>]". Empty when the file is the node's.
std::string HostNameIn(const std::string& hosts) {
  if (hosts.find("(host network)") != std::string::npos) return "";
  std::string name;
  std::istringstream lines(hosts);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("HostAliases") != std::string::npos) break;
    if (line.empty() || line.front() == '#') continue;
    name = line.substr(line.find_last_of(" \t") + 1);
  }
  return name.starts_with("ip6-") || name == "localhost" ? "" : name;
}

}  // namespace

SidecarPods SidecarPods::Find(const std::string& kubelet_root) {
  SidecarPods found;
  const std::string root = kubelet_root + "/pods";
  const auto pods = platform::ListNames(kubelet_root, root, kMaxEntries);
  found.unknown_ = !pods;
  if (!pods) return found;
  for (const std::string& uid : *pods) {
    const std::string directory = root + "/" + uid;
    const auto containers =
        platform::ListNames(kubelet_root, directory + "/containers", kMaxEntries);
    // None has started yet, or the pod has just gone.
    if (!containers && IsMissingPath(containers.error())) continue;
    if (containers && std::ranges::none_of(*containers, [](const std::string& name) {
          return name.starts_with(kSidecarPrefix);
        })) {
      continue;
    }
    const auto hosts =
        platform::ReadFileBeneath(kubelet_root, directory + "/etc-hosts", kMaxHostsFile);
    std::string name = hosts ? HostNameIn(*hosts) : "";
    if (name.empty()) {
      found.unknown_ = true;
    } else {
      found.names_.push_back(std::move(name));
    }
  }
  return found;
}

bool SidecarPods::MayHave(std::string_view pod) const {
  if (unknown_) return true;
  if (pod.ends_with(kGeneratedName)) {
    const std::string_view prefix =
        pod.substr(0, std::min(pod.size() - kGeneratedName.size(), kMaxPrefix));
    return std::ranges::any_of(names_,
                               [&](const std::string& name) { return name.starts_with(prefix); });
  }
  return std::ranges::any_of(names_, [&](const std::string& name) {
    // The kubelet cuts long names, and takes "-" and "." from the end of what is left.
    return name == pod || (pod.size() > kMaxHostName && !name.empty() && pod.starts_with(name));
  });
}

}  // namespace sluice::csi
