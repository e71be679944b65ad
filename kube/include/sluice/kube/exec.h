// Commands in containers through the API server: the adapter behind ports/pod_exec.h. Needs the
// verbs get and create on pods/exec (a WebSocket is a GET; newer API servers ask for create too).
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "sluice/kube/config.h"
#include "sluice/platform/metrics.h"
#include "sluice/ports/pod_exec.h"

namespace sluice::kube {

struct ExecOptions {
  std::string user_agent = "sluice";
  std::chrono::milliseconds deadline{20'000};  // of one command with its connection
  std::chrono::milliseconds connect_timeout{5'000};
  std::size_t max_output_bytes = 64U << 10;  // kept of each of the two streams
};

// Only reads the configuration: each command connects. kInvalidArgument for a server URL,
// certificate or key that cannot be used. The metrics registry must outlive it.
Result<std::unique_ptr<PodExec>> ConnectExec(Config config, ExecOptions options,
                                             platform::Metrics& metrics);

}  // namespace sluice::kube
