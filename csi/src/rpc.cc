#include "rpc.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace sluice::csi {
namespace {

using std::chrono::steady_clock;
using std::chrono::system_clock;

constexpr std::chrono::seconds kDefaultDeadline{120};
constexpr std::chrono::seconds kMaxMargin{1};

Status RunTamed(const std::function<Status()>& call) {
  try {
    return call();
  } catch (const std::exception& error) {
    return Fail(Code::kInternal, std::string("unexpected: ") + error.what());
  } catch (...) {
    return Fail(Code::kInternal, "unexpected exception");
  }
}

}  // namespace

grpc::StatusCode ToGrpcCode(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case Code::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case Code::kConflict:
      return grpc::StatusCode::ABORTED;
    case Code::kPermissionDenied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Code::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
    case Code::kDeadlineExceeded:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Code::kInternal:
      return grpc::StatusCode::INTERNAL;
  }
  return grpc::StatusCode::UNKNOWN;
}

grpc::Status ToGrpc(const Status& status) {
  if (status) return grpc::Status::OK;
  return {ToGrpcCode(status.error().code), status.error().message};
}

steady_clock::time_point DeadlineOf(const grpc::ServerContext& context) {
  const auto now = system_clock::now();
  const auto left = context.deadline() - now;  // enormous when there is none
  const auto allowed = std::min<system_clock::duration>(left, kDefaultDeadline);
  const auto margin = std::min<system_clock::duration>(allowed / 10, kMaxMargin);
  return steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(allowed - margin);
}

CallRunner::CallRunner(platform::Log log, platform::Metrics& metrics)
    : log_(std::move(log)), metrics_(metrics) {}

grpc::Status CallRunner::Run(const char* method, const std::string& volume,
                             const std::function<Status()>& call) const {
  const auto begin = steady_clock::now();
  const Status status = RunTamed(call);
  const std::chrono::duration<double> took = steady_clock::now() - begin;
  const std::string code = status ? "ok" : std::string(CodeName(status.error().code));
  metrics_
      .AddHistogram("sluice_csi_call_seconds", "Duration of CSI calls", platform::LatencyBuckets(),
                    {{"method", method}})
      .Observe(took.count());
  metrics_
      .AddCounter("sluice_csi_calls_total", "CSI calls by outcome",
                  {{"method", method}, {"code", code}})
      .Add();
  if (status) {
    log_.Info("call", {{"method", method}, {"volume", volume}, {"seconds", took.count()}});
  } else {
    log_.Warn("call failed", {{"method", method},
                              {"volume", volume},
                              {"seconds", took.count()},
                              {"code", code},
                              {"error", status.error().message}});
  }
  return ToGrpc(status);
}

}  // namespace sluice::csi
