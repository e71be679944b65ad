// The administrator's plugin profile and serverless table: YAML files beside the process.
#pragma once

#include <string>

#include "sluice/core/injection_settings.h"
#include "sluice/core/resource.h"

namespace sluice::webhook {

// A YAML document as JSON: scalars become booleans, numbers, null or strings as YAML 1.2's core
// schema says; quoted ones stay strings. kInvalidArgument with line and column.
Result<Json> ParseYaml(const std::string& text);
// All documents of a stream.
Result<std::vector<Json>> ParseYamlStream(const std::string& text);

// Replaces plugin lists and locality in `settings`. Unknown fields are ignored; an unknown plugin
// or bad arguments are kInvalidArgument.
Status ApplyPluginProfile(const std::string& yaml, injection::Settings& settings);

// Replaces the parts of the serverless table that the document names:
//   nodeLabels: {type: [virtual-kubelet]}
//   podLabels: {}
//   taintKeys: [virtual-kubelet.io/provider]
//   nodeNamePrefixes: [virtual-kubelet]
Status ApplyServerlessTable(const std::string& yaml, injection::Settings& settings);

}  // namespace sluice::webhook
