#include "sluice/platform/http_endpoint.h"

#include <unistd.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::platform {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kTime{5};

class HttpEndpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-http-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    address_ = "unix:" + directory_.string() + "/s";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
  std::string address_;
  Metrics metrics_;
};

TEST_F(HttpEndpointTest, TellsWhyItIsNotReady) {
  std::string reason = "access denied to bucket x";
  HttpEndpoint endpoint(metrics_, [&] { return reason; });
  ASSERT_TRUE(endpoint.Start(address_));
  const auto refused = AskEndpoint(address_, "/readyz", kTime);
  ASSERT_TRUE(refused) << refused.error().message;
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->body, "access denied to bucket x\n");
  reason.clear();
  EXPECT_EQ(AskEndpoint(address_, "/readyz", kTime)->status, 200);
  EXPECT_EQ(AskEndpoint(address_, "/nothing", kTime)->status, 404);
}

TEST_F(HttpEndpointTest, SilenceIsAnErrorThatNamesTheAddress) {
  const auto nobody = AskEndpoint(address_, "/readyz", kTime);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, Code::kUnavailable);
  EXPECT_THAT(nobody.error().message, HasSubstr(address_));
  EXPECT_EQ(AskEndpoint("127.0.0.1:1", "/readyz", kTime).error().code, Code::kInvalidArgument);
}

TEST_F(HttpEndpointTest, TakesTheSocketOfAPredecessorThatWasKilled) {
  for (int life = 0; life < 2; ++life) {
    HttpEndpoint endpoint(metrics_, [] { return ""; });
    ASSERT_TRUE(endpoint.Start(address_));
    EXPECT_EQ(AskEndpoint(address_, "/healthz", kTime)->status, 200);
    ASSERT_TRUE(std::filesystem::exists(directory_ / "s")) << "nobody removes it at the end";
  }
}

TEST_F(HttpEndpointTest, SharesItsPortWithNobody) {
  const auto ready = [] { return std::string(); };
  HttpEndpoint first(metrics_, ready);
  auto port = first.Start("127.0.0.1:0");
  ASSERT_TRUE(port) << port.error().message;
  const std::string address = "127.0.0.1:" + std::to_string(*port);
  HttpEndpoint second(metrics_, ready);
  auto taken = second.Start(address);
  ASSERT_FALSE(taken) << "two would answer in turns";
  EXPECT_EQ(taken.error().code, Code::kUnavailable);
  EXPECT_NE(taken.error().message.find(address), std::string::npos) << taken.error().message;
}

}  // namespace
}  // namespace sluice::platform
