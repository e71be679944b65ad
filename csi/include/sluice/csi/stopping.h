// The answer of calls that the plugin's end cuts short.
#pragma once

#include <string>

#include "sluice/core/result.h"

namespace sluice::csi {

// The kubelet calls again, and finds the plugin's successor.
inline Error Stopping(const std::string& what) {
  return {Code::kUnavailable, what + ": the plugin is stopping"};
}

}  // namespace sluice::csi
