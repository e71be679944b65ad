// From an AdmissionRequest to the answer: reads what the pure decision needs, asks again with live
// reads when state may be behind, and makes sure that ConfigMaps exist before a pod needs them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/core/injection.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/object_source.h"
#include "sluice/webhook/config_maps.h"
#include "sluice/webhook/review.h"

namespace sluice::webhook {

// What makes names in the pod unique: the same request at the same time gives the same pod.
std::uint64_t RequestSeed(std::string_view uid, std::int64_t unix_micros);

// Threads: Admit from any thread. Everything passed in must outlive the object.
class Admission {
 public:
  struct Parts {
    const ObjectSource& state;           // watch-fed or from a file
    const ObjectSource* live = nullptr;  // asked when a decision on `state` fails
    ConfigMapWriter* config_maps = nullptr;
    const Clock& clock;
    platform::Metrics& metrics;
    platform::Log log;
  };
  Admission(const Parts& parts, injection::Settings settings);

  AdmissionAnswer Admit(const AdmissionRequest& request) const;

  // The whole exchange: the answer's bytes for a request body. Never throws.
  std::string Serve(std::string_view content_type, std::string_view body) const;

 private:
  injection::Outcome Decide(const AdmissionRequest& request, const ObjectSource& source) const;
  // Writes what the patched pod mounts; when it cannot, `outcome` becomes a refusal or, where
  // errors pass, the pod as it was.
  void MakeConfigMaps(const AdmissionRequest& request, const ObjectSource& source,
                      injection::Outcome& outcome) const;
  AdmissionAnswer Answer(const AdmissionRequest& request, injection::Outcome outcome) const;
  void Count(std::string_view mode, std::string_view outcome, const std::string& reason) const;
  void Record(const AdmissionRequest& request, const injection::Outcome& outcome,
              const AdmissionAnswer& answer) const;

  Parts parts_;
  injection::Settings settings_;
  platform::Histogram& seconds_;
};

}  // namespace sluice::webhook
