// The administrator's plugin profile and serverless table: YAML files beside the process.
#pragma once

#include <string>

#include "sluice/core/injection_settings.h"
#include "sluice/core/result.h"

namespace sluice::yaml {

// Replaces plugin lists and locality in `settings`. Unknown fields are ignored; an unknown plugin
// or bad arguments are kInvalidArgument.
Status ApplyPluginProfile(const std::string& text, injection::Settings& settings);

// Replaces the parts of the serverless table that the document names:
//   nodeLabels: {type: [virtual-kubelet]}
//   podLabels: {}
//   taintKeys: [virtual-kubelet.io/provider]
//   nodeNamePrefixes: [virtual-kubelet]
//   schedulerNames: [fargate-scheduler]
Status ApplyServerlessTable(const std::string& text, injection::Settings& settings);

}  // namespace sluice::yaml
