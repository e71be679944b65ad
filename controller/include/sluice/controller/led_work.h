// What one of several replicas does while it leads.
#pragma once

#include <stop_token>
#include <string>

namespace sluice::controller {

class LedWork {
 public:
  virtual ~LedWork() = default;
  // Begins to watch; nothing is changed in the cluster yet.
  virtual void Start() = 0;
  // Empty once every resource has been listed; else what is missing.
  [[nodiscard]] virtual std::string NotReadyReason() const = 0;
  // Reconciles until stopped. To be called by the leader.
  virtual void Run(const std::stop_token& stop) = 0;
};

}  // namespace sluice::controller
