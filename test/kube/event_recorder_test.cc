#include "sluice/kube/event_recorder.h"

#include <gtest/gtest.h>

#include "fake_cluster.h"
#include "manual_clock.h"

namespace sluice::kube {
namespace {

using std::chrono::seconds;

class EventRecorderTest : public testing::Test {
 protected:
  std::vector<Json> Events() { return cluster.List(resources::kEvent, {})->items; }
  static Json Subject(const std::string& uid) {
    return {{"apiVersion", "data.fluid.io/v1alpha1"},
            {"kind", "Dataset"},
            {"metadata", {{"name", "demo"}, {"namespace", "ns"}, {"uid", uid}}}};
  }

  test::FakeCluster cluster;
  test::ManualClock clock;
  platform::Metrics metrics;
  EventRecorder recorder{cluster, "sluice-controller", clock,
                         platform::Log("test", platform::LogLevel::kError), metrics};
};

const EventText kText{.type = EventType::kWarning, .reason = "Reason", .message = "text"};

TEST_F(EventRecorderTest, NamesItsSubject) {
  recorder.Record(Subject("u1"), kText);
  ASSERT_EQ(Events().size(), 1U);
  const Json event = Events()[0];
  EXPECT_EQ(event["metadata"]["namespace"], "ns");
  EXPECT_EQ(event["involvedObject"]["kind"], "Dataset");
  EXPECT_EQ(event["involvedObject"]["uid"], "u1");
  EXPECT_EQ(event["type"], "Warning");
  EXPECT_EQ(event["count"], 1);
  EXPECT_EQ(event["source"]["component"], "sluice-controller");
}

TEST_F(EventRecorderTest, EqualEventsAreCountedAndRarelyWritten) {
  for (int i = 0; i < 10; ++i) recorder.Record(Subject("u1"), kText);
  ASSERT_EQ(Events().size(), 1U);
  EXPECT_EQ(Events()[0]["count"], 1);
  clock.Advance(seconds(5));
  recorder.Record(Subject("u1"), kText);
  ASSERT_EQ(Events().size(), 1U);
  EXPECT_EQ(Events()[0]["count"], 11);
}

TEST_F(EventRecorderTest, OtherTextOrObjectIsAnotherEvent) {
  recorder.Record(Subject("u1"), kText);
  recorder.Record(Subject("u2"), kText);
  recorder.Record(Subject("u1"), {.reason = "Reason", .message = "other"});
  EXPECT_EQ(Events().size(), 3U);
}

TEST_F(EventRecorderTest, AnExpiredEventIsMadeAnew) {
  recorder.Record(Subject("u1"), kText);
  ASSERT_TRUE(cluster.Delete(resources::kEvent, KeyOf(Events()[0])));
  clock.Advance(seconds(5));
  recorder.Record(Subject("u1"), kText);
  ASSERT_EQ(Events().size(), 1U);
  EXPECT_EQ(Events()[0]["count"], 2);
}

TEST_F(EventRecorderTest, LongTextIsCutBetweenCharacters) {
  std::string text;
  while (text.size() < 2000) text += "\xc3\xa4";
  recorder.Record(Subject("u1"), {.reason = "Reason", .message = "x" + text});
  const std::string written = Events()[0]["message"];
  EXPECT_EQ(written.size(), 1023U);
}

TEST_F(EventRecorderTest, AFailureIsCountedAndSwallowed) {
  cluster.OnRequest([](const std::string&) -> Status { return Fail(Code::kUnavailable, "down"); });
  recorder.Record(Subject("u1"), kText);
  EXPECT_NE(metrics.Render().find("sluice_event_failures_total 1"), std::string::npos);
}

}  // namespace
}  // namespace sluice::kube
