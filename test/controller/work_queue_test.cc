#include "sluice/controller/work_queue.h"

#include <thread>

#include <gtest/gtest.h>

#include "reconcile_fixture.h"

namespace sluice::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const ObjectKey kA{"ns", "a"};
const ObjectKey kB{"ns", "b"};

TEST(WorkQueueTest, AKeyIsQueuedOnce) {
  ManualClock clock;
  WorkQueue queue(clock, {});
  queue.Add(kA);
  queue.Add(kA);
  EXPECT_EQ(queue.TryGet(), kA);
  EXPECT_FALSE(queue.TryGet());
}

TEST(WorkQueueTest, AKeyIsWithOneWorkerAtATime) {
  ManualClock clock;
  WorkQueue queue(clock, {});
  queue.Add(kA);
  ASSERT_EQ(queue.TryGet(), kA);
  queue.Add(kA);  // changed while it is worked on
  EXPECT_FALSE(queue.TryGet());
  queue.Done(kA);
  EXPECT_EQ(queue.TryGet(), kA);
}

TEST(WorkQueueTest, TheEarlierOfTwoTimesCounts) {
  ManualClock clock;
  WorkQueue queue(clock, {});
  queue.Add(kA, seconds(90));
  EXPECT_FALSE(queue.TryGet());
  queue.Add(kA, seconds(5));
  queue.Add(kA, seconds(60));
  clock.Advance(seconds(5));
  EXPECT_EQ(queue.TryGet(), kA);
}

TEST(WorkQueueTest, RetriesWaitLongerAndLongerUntilForgotten) {
  ManualClock clock;
  WorkQueue queue(clock, {.retry_base = milliseconds(8000), .retry_max = milliseconds(60'000)});
  queue.Retry(kA);  // 4 to 8 s
  clock.Advance(seconds(3));
  EXPECT_FALSE(queue.TryGet());
  clock.Advance(seconds(5));
  ASSERT_EQ(queue.TryGet(), kA);
  queue.Done(kA);
  queue.Retry(kA);  // 8 to 16 s
  clock.Advance(seconds(7));
  EXPECT_FALSE(queue.TryGet());
  clock.Advance(seconds(9));
  ASSERT_EQ(queue.TryGet(), kA);
  queue.Done(kA);
  for (int i = 0; i < 10; ++i) queue.Retry(kB);
  clock.Advance(seconds(60));
  EXPECT_EQ(queue.TryGet(), kB) << "a delay is at most the maximum";
  queue.Forget(kA);
  queue.Retry(kA);
  clock.Advance(seconds(8));
  EXPECT_EQ(queue.TryGet(), kA);
}

TEST(WorkQueueTest, GetWakesForANewKeyAndForAStop) {
  const SystemClock clock;
  WorkQueue queue(clock, {});
  std::optional<ObjectKey> got;
  std::optional<ObjectKey> after_stop = kB;
  std::jthread worker([&](const std::stop_token& stop) {
    got = queue.Get(stop);
    queue.Done(kA);
    after_stop = queue.Get(stop);
  });
  queue.Add(kA);
  const auto deadline = std::chrono::steady_clock::now() + seconds(10);
  while (queue.Depth() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  worker.request_stop();
  worker.join();
  EXPECT_EQ(got, kA);
  EXPECT_FALSE(after_stop);
}

}  // namespace
}  // namespace sluice::controller
