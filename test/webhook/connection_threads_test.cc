#include "connection_threads.h"

#include <chrono>
#include <future>
#include <memory>

#include <gtest/gtest.h>

namespace sluice::webhook {
namespace {

using namespace std::chrono_literals;

TEST(ConnectionThreadsTest, NobodyWaitsForWhatATaskLeavesBehind) {
  ConnectionThreads threads(1);
  std::future<void> other;
  std::promise<bool> others_go_on;
  // Goes with the task; meanwhile somebody else wants something of the threads.
  const auto left = [&](int* number) {
    delete number;
    other = std::async(std::launch::async, [&] { threads.StopWaiting(); });
    others_go_on.set_value(other.wait_for(5s) == std::future_status::ready);
  };
  threads.Run([held = std::shared_ptr<int>(new int(0), left)] {});
  EXPECT_TRUE(others_go_on.get_future().get());
}

}  // namespace
}  // namespace sluice::webhook
