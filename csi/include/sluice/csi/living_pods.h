// The names of the pods that live on this node, as the kubelet's own directories show them: no
// question to the API server, which would need the right to read all pods.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::csi {

class LivingPods {
 public:
  struct Places {
    std::string kubelet_root;
    std::string pod_logs;  // podLogsDir of the kubelet: <namespace>_<name>_<uid>/
  };

  // Looks now. A pod lives while it has a directory in <kubelet root>/pods; it is called what its
  // directory of logs says. One whose name cannot be told counts as a pod of any name.
  static LivingPods Find(const Places& places);

  // Whether one of them may have this name. "<prefix>--generate-name", which is what the webhook
  // knows of a pod whose name the API server makes, stands for every name with the prefix.
  [[nodiscard]] bool MayHave(std::string_view pod) const;

 private:
  std::vector<std::string> names_;
  bool unknown_ = false;
};

}  // namespace sluice::csi
