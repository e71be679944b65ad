#include "rpc.h"

#include <stdexcept>

#include <gtest/gtest.h>

namespace sluice::csi {
namespace {

TEST(RpcTest, EveryCodeHasItsGrpcStatus) {
  EXPECT_EQ(ToGrpcCode(Code::kInvalidArgument), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ToGrpcCode(Code::kNotFound), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ToGrpcCode(Code::kAlreadyExists), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ToGrpcCode(Code::kConflict), grpc::StatusCode::ABORTED);
  EXPECT_EQ(ToGrpcCode(Code::kPermissionDenied), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ToGrpcCode(Code::kUnavailable), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ToGrpcCode(Code::kDeadlineExceeded), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ToGrpcCode(Code::kInternal), grpc::StatusCode::INTERNAL);
}

TEST(RpcTest, ExceptionsBecomeInternalErrorsAndAreCounted) {
  platform::Metrics metrics;
  const CallRunner runner(platform::Log("test", platform::LogLevel::kError), metrics);
  const grpc::Status status =
      runner.Run("NodeStageVolume", "v", []() -> Status { throw std::runtime_error("boom"); });
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_NE(status.error_message().find("boom"), std::string::npos);
  EXPECT_NE(metrics.Render().find(
                "sluice_csi_calls_total{code=\"internal\",method=\"NodeStageVolume\"} 1"),
            std::string::npos)
      << metrics.Render();
}

}  // namespace
}  // namespace sluice::csi
