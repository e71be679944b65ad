// Waits until something in a folder changes.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "sluice/platform/unique_fd.h"

namespace sluice::pool {

class FolderWatch {
 public:
  explicit FolderWatch(std::string folder);

  // Returns at a change, at a stop, or after `longest`. Changes since the last call count. Where
  // the folder cannot be watched (it is not there yet), only the time does.
  void Wait(const std::stop_token& stop, std::chrono::milliseconds longest);

 private:
  void Drain();

  const std::string folder_;
  platform::UniqueFd inotify_;
  platform::UniqueFd wake_;  // a stop was requested
  bool watching_ = false;
};

}  // namespace sluice::pool
