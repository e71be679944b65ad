// From gRPC to the node plane and back: codes, deadlines, and what every call has in common.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include <grpcpp/grpcpp.h>

#include "sluice/core/result.h"
#include "sluice/platform/log.h"
#include "sluice/platform/metrics.h"

namespace sluice::csi {

grpc::StatusCode ToGrpcCode(Code code);
grpc::Status ToGrpc(const Status& status);

// When work for this call has to end so that its answer still arrives in time; two minutes for
// callers that set no deadline.
std::chrono::steady_clock::time_point DeadlineOf(const grpc::ServerContext& context);

// Runs calls: one log line and one metric each, and no exception gets out. Threads: any.
class CallRunner {
 public:
  CallRunner(platform::Log log, platform::Metrics& metrics);

  // `volume` is for the log.
  grpc::Status Run(const char* method, const std::string& volume,
                   const std::function<Status()>& call) const;

 private:
  platform::Log log_;
  platform::Metrics& metrics_;
};

}  // namespace sluice::csi
