#include "resolver.h"

#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "pool_calls.h"

namespace sluice::pool {
namespace {

// Looks names up as told; "slow" takes until it is released.
struct NameServer {
  std::latch release{1};
  std::atomic<int> asked{0};

  static Resolver::LookUp Of(const std::shared_ptr<NameServer>& server) {
    return [server](const std::string& address) -> Addresses {
      ++server->asked;
      if (address == "slow") server->release.wait();
      return Fail(Code::kNotFound, address);
    };
  }
};

std::future<std::string> Ask(Resolver& resolver, const std::string& address) {
  auto promise = std::make_shared<std::promise<std::string>>();
  resolver.Resolve(address, [promise](const Addresses& addresses) {
    promise->set_value(addresses ? "" : addresses.error().message);
  });
  return promise->get_future();
}

TEST(ResolverTest, ASlowNameDelaysNoOther) {
  const auto server = std::make_shared<NameServer>();
  Resolver resolver(NameServer::Of(server));
  auto slow = Ask(resolver, "slow");
  for (int i = 0; i < 20; ++i) {
    const std::string name = "name-" + std::to_string(i);
    auto found = Ask(resolver, name);
    ASSERT_EQ(found.wait_for(test::kNoAnswer), std::future_status::ready);
    EXPECT_EQ(found.get(), name);
  }
  EXPECT_NE(slow.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  server->release.count_down();
  EXPECT_EQ(slow.get(), "slow");
}

TEST(ResolverTest, AllAreAnsweredHoweverManyAreSlow) {
  const auto server = std::make_shared<NameServer>();
  Resolver resolver(NameServer::Of(server));
  std::vector<std::future<std::string>> asked;
  for (int i = 0; i < 30; ++i) asked.push_back(Ask(resolver, "slow"));
  server->release.count_down();
  for (auto& one : asked) EXPECT_EQ(one.get(), "slow");
  EXPECT_EQ(server->asked, 30);
}

TEST(ResolverTest, StoppingWaitsForNoName) {
  const auto server = std::make_shared<NameServer>();
  std::future<std::string> slow;
  {
    Resolver resolver(NameServer::Of(server));
    slow = Ask(resolver, "slow");
    while (server->asked == 0) std::this_thread::yield();
  }
  server->release.count_down();
  EXPECT_THROW(slow.get(), std::future_error) << "called after the end";
}

TEST(ResolverTest, FindsThisMachine) {
  const auto addresses = LookUpName("localhost:11211");
  ASSERT_TRUE(addresses) << addresses.error().message;
  EXPECT_GE(addresses->size(), 1U);
  EXPECT_EQ(LookUpName("localhost").error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace sluice::pool
