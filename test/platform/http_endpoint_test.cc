#include "sluice/platform/http_endpoint.h"

#include <gtest/gtest.h>

namespace sluice::platform {
namespace {

TEST(HttpEndpointTest, SharesItsPortWithNobody) {
  const Metrics metrics;
  const auto ready = [] { return std::string(); };
  HttpEndpoint first(metrics, ready);
  auto port = first.Start("127.0.0.1:0");
  ASSERT_TRUE(port) << port.error().message;
  const std::string address = "127.0.0.1:" + std::to_string(*port);
  HttpEndpoint second(metrics, ready);
  auto taken = second.Start(address);
  ASSERT_FALSE(taken) << "two would answer in turns";
  EXPECT_EQ(taken.error().code, Code::kUnavailable);
  EXPECT_NE(taken.error().message.find(address), std::string::npos) << taken.error().message;
}

}  // namespace
}  // namespace sluice::platform
