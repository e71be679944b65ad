// Mounter by system calls.
#pragma once

#include "sluice/ports/mounter.h"

namespace sluice::csi {

class SystemMounter final : public Mounter {
 public:
  Result<std::vector<MountPoint>> Mounts() override;
  Result<PathInfo> Inspect(const std::string& root, const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& root, const std::string& path) override;
  Status MakeDirectories(const std::string& root, const std::string& path, unsigned mode) override;
  Status Remove(const std::string& root, const std::string& path) override;
  Status Link(const std::string& source, const std::string& root,
              const std::string& target) override;
  Status Detach(const std::string& path) override;
  Status Abort(const MountPoint& mount) override;
  Result<Liveness> Probe(const std::string& source, const std::string& sub_path) override;
  Status Bind(const BindSpec& spec) override;
};

}  // namespace sluice::csi
