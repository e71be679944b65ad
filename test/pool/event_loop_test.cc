#include "event_loop.h"

#include <future>

#include <gtest/gtest.h>

#include "no_descriptors.h"

namespace sluice::pool {
namespace {

TEST(EventLoopTest, RunsWhatIsPosted) {
  auto loop = EventLoop::Start();
  ASSERT_TRUE(loop) << loop.error().message;
  std::promise<void> ran;
  (*loop)->Post([&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(EventLoopTest, SaysThatThereIsNoDescriptor) {
  const test::NoDescriptors none;
  const auto loop = EventLoop::Start();
  ASSERT_FALSE(loop);
  EXPECT_EQ(loop.error().code, Code::kUnavailable);
  EXPECT_NE(loop.error().message.find("open files"), std::string::npos) << loop.error().message;
}

}  // namespace
}  // namespace sluice::pool
