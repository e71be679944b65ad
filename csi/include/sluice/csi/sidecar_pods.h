// The pods with a sidecar that live on this node, as the kubelet's own directory shows them: no
// question to the API server, which would need the right to read all pods.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::csi {

class SidecarPods {
 public:
  // Reads <kubelet root>/pods now. What cannot be read counts as a pod of any name.
  static SidecarPods Find(const std::string& kubelet_root);

  // Whether one of them may have this name. "<prefix>--generate-name", which is what the webhook
  // knows of a pod whose name the API server makes, stands for every name with the prefix.
  [[nodiscard]] bool MayHave(std::string_view pod) const;

 private:
  std::vector<std::string> names_;  // as the pods see them: at most 63 characters
  bool unknown_ = false;
};

}  // namespace sluice::csi
