// Kubernetes events about objects: what `kubectl describe` shows. Equal events are one Event whose
// count grows.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <string>

#include "sluice/platform/guarded.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"

namespace sluice::kube {

enum class EventType { kNormal, kWarning };

struct EventText {
  EventType type = EventType::kNormal;
  std::string reason;   // CamelCase, one of a fixed set
  std::string message;  // no secrets; cut at 1024 bytes
};

// Threads: any. Failures are logged and counted, never returned: an event is a courtesy.
class EventRecorder {
 public:
  EventRecorder(Cluster& cluster, std::string component, const Clock& clock, platform::Log log,
                platform::Metrics& metrics);

  // `about` is the object concerned, with apiVersion and kind.
  void Record(const Json& about, const EventText& text);

 private:
  struct Known {
    std::string fingerprint;
    ObjectKey event;
    std::uint64_t count = 0;
    std::chrono::steady_clock::time_point written;
  };
  struct Memory {
    std::list<Known> recent;  // newest first
    std::map<std::string, std::list<Known>::iterator> by_fingerprint;
  };
  // Counts the event; what to write, or a count of 0 when it was written a moment ago.
  Known Remember(const std::string& fingerprint, const ObjectKey& fresh_name);
  void Report(const Status& status);

  Cluster& cluster_;
  const std::string component_;
  const Clock& clock_;
  platform::Log log_;
  platform::Counter& failures_;
  platform::Guarded<Memory> memory_;
};

}  // namespace sluice::kube
