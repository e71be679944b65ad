// Differences between two documents for people's eyes.
#pragma once

#include <string>

#include "sluice/core/resource.h"

namespace sluice::cli {

// One block per change, indented: "+ spec.volumes[1]:" and the value as YAML; "-" for what goes
// away, both for what is replaced. Green and red on request.
std::string ChangeText(const Json& before, const Json& after, bool colour);

// "spec.containers[0].name", keys that are no plain words in brackets and quotes.
std::string ReadablePath(const std::string& json_pointer);

}  // namespace sluice::cli
