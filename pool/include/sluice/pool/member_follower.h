// Follows the file in which a dataset's workers are listed (core/pool_members.h), as it is mounted
// from a ConfigMap.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "sluice/core/pool_members.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"

namespace sluice::pool {

class MemberFollower {
 public:
  using OnMembers = std::function<void(const std::vector<PoolMember>&)>;

  // Starts a thread that reads the file now, at each change of its folder and every `poll`, and
  // calls `on_members` (from that thread) with each list that differs from the one before. A file
  // that is absent or malformed is logged and counted, and the last good list stays. `metrics`
  // must outlive it.
  MemberFollower(std::string path, OnMembers on_members, platform::Metrics& metrics,
                 platform::Log log, std::chrono::milliseconds poll = std::chrono::seconds(10));
  ~MemberFollower();  // no call after it
  MemberFollower(const MemberFollower&) = delete;
  MemberFollower& operator=(const MemberFollower&) = delete;

 private:
  void Run(const std::stop_token& stop);
  void Look();
  void Complain(const Error& error);
  void CountReload(const std::string& result);

  const std::string path_;
  const OnMembers on_members_;
  platform::Metrics& metrics_;
  const platform::Log log_;
  const std::chrono::milliseconds poll_;
  // The rest belongs to the thread.
  std::string text_;       // as last read
  std::string complaint_;  // the last one, not to repeat it at every look
  std::vector<PoolMember> members_;
  bool known_ = false;
  std::jthread thread_;
};

}  // namespace sluice::pool
