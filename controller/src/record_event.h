// Decisions' events as the recorder takes them.
#pragma once

#include "sluice/core/dataset_decision.h"
#include "sluice/kube/event_recorder.h"

namespace sluice::controller {

inline void RecordEvent(const PlannedEvent& event, kube::EventRecorder& recorder) {
  recorder.Record(event.about,
                  {.type = event.warning ? kube::EventType::kWarning : kube::EventType::kNormal,
                   .reason = event.reason,
                   .message = event.message});
}

}  // namespace sluice::controller
