// The table of this node's mounts, written through to the state files.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sluice/core/result.h"
#include "sluice/csi/node_state.h"
#include "sluice/csi/state_files.h"
#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"

namespace sluice::csi {

// Threads: any.
class MountRegistry {
 public:
  MountRegistry(std::string state_directory, platform::Log log);

  // Creates the directory and reads what an earlier process has left.
  Status Load();

  [[nodiscard]] std::optional<SharedMount> Find(const std::string& key) const;
  [[nodiscard]] std::optional<SharedMount> FindByVolume(const std::string& volume_id) const;
  [[nodiscard]] std::optional<SharedMount> FindByTarget(const std::string& target_path) const;
  [[nodiscard]] std::vector<SharedMount> All() const;

  // Enters `mount` when its key is new, then applies the change.
  void Enter(const SharedMount& mount, const std::function<void(SharedMount&)>& change);
  // Applies the change when the key is known.
  void Change(const std::string& key, const std::function<void(SharedMount&)>& change);
  // Drops the record unless it has a target; false when it has, and stays. Where the node label is
  // still pending, the record stays for that alone: true.
  bool ForgetUnused(const std::string& key);

 private:
  // Writes the current record, or removes the file when there is none. A failure is logged only:
  // the mount table says the same.
  void Save(const std::string& key);

  platform::Log log_;
  StateFiles files_;
  std::mutex save_mutex_;  // one writer at a time, so that the last state wins
  platform::Guarded<std::map<std::string, SharedMount>> mounts_;
};

}  // namespace sluice::csi
