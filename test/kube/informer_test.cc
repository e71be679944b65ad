#include "sluice/kube/informer.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>

#include <gtest/gtest.h>

#include "fake_cluster.h"

namespace sluice::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

const ResourceType kThing{"example.org", "v1", "things", "Thing", true};

class InformerTest : public testing::Test {
 protected:
  static Json Object(const std::string& name, const std::string& value) {
    return {{"metadata", {{"name", name}, {"namespace", "ns"}}}, {"data", {{"v", value}}}};
  }
  void Put(const std::string& name, const std::string& value) {
    ASSERT_TRUE(cluster.Apply(resources::kConfigMap, Object(name, value)));
  }
  void Start(std::vector<InformedResource> resources) {
    informers = std::make_unique<InformerSet>(
        cluster, std::move(resources),
        InformerOptions{.backoff_base = milliseconds(5), .backoff_max = milliseconds(20)},
        platform::Log("test", platform::LogLevel::kError), metrics);
    informers->OnChange([this](const Change& change) {
      std::lock_guard lock(mutex);
      story.push_back((change.before ? (change.after ? "changed " : "removed ") : "added ") +
                      change.key.name);
      changed.notify_all();
    });
    informers->Start();
  }
  bool Synced() { return informers->WaitSynced(steady_clock::now() + seconds(10)); }
  // Waits until the story has this line.
  bool Told(const std::string& line) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, seconds(10), [&] {
      return std::find(story.begin(), story.end(), line) != story.end();
    });
  }
  std::string ValueOf(const std::string& name) {
    auto found = informers->Find(resources::kConfigMap, {"ns", name});
    return found ? StringAt(**found, "/data/v") : "none";
  }

  test::FakeCluster cluster;
  platform::Metrics metrics;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> story;
  std::atomic<bool> cut = false;  // what hooks look at: the threads still call them after the test
  std::unique_ptr<InformerSet> informers;  // last: its threads use the rest
};

TEST_F(InformerTest, FollowsTheCluster) {
  Put("a", "1");
  Start({{.type = resources::kConfigMap}});
  ASSERT_TRUE(Synced());
  EXPECT_EQ(ValueOf("a"), "1");
  Put("a", "2");
  ASSERT_TRUE(Told("changed a"));
  EXPECT_EQ(ValueOf("a"), "2");
  Put("b", "1");
  ASSERT_TRUE(Told("added b"));
  EXPECT_EQ(informers->List(resources::kConfigMap, "ns").size(), 2U);
  EXPECT_TRUE(informers->List(resources::kConfigMap, "other").empty());
  ASSERT_TRUE(cluster.Delete(resources::kConfigMap, {"ns", "a"}));
  ASSERT_TRUE(Told("removed a"));
  EXPECT_EQ(ValueOf("a"), "none");
}

TEST_F(InformerTest, SaysHowOldItsKnowledgeIs) {
  const auto before = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  Start({{.type = resources::kConfigMap}});
  ASSERT_TRUE(Synced());
  Put("a", "1");
  ASSERT_TRUE(Told("added a"));
  const std::string text = metrics.Render();
  const std::string name = "sluice_informer_current_timestamp_seconds{resource=\"configmaps\"} ";
  const std::size_t at = text.find(name);
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_GE(std::stod(text.substr(at + name.size())), static_cast<double>(before));
}

TEST_F(InformerTest, AnObjectHandedOutOutlivesItsChange) {
  Put("a", "1");
  Start({{.type = resources::kConfigMap}});
  ASSERT_TRUE(Synced());
  const auto held = *informers->Find(resources::kConfigMap, {"ns", "a"});
  Put("a", "2");
  ASSERT_TRUE(Told("changed a"));
  EXPECT_EQ(StringAt(*held, "/data/v"), "1");
}

TEST_F(InformerTest, ListsAgainWhenItsVersionHasExpired) {
  Put("stays", "1");
  Put("goes", "1");
  Start({{.type = resources::kConfigMap}});
  ASSERT_TRUE(Synced());
  // The server forgets while the watch is cut: what happened in between comes from the new list.
  cut = true;
  cluster.OnRequest([this](const std::string& request) -> Status {
    if (cut && request.starts_with("watch")) return Fail(Code::kUnavailable, "cut");
    return Ok();
  });
  cluster.EndWatches();
  ASSERT_TRUE(cluster.Delete(resources::kConfigMap, {"ns", "goes"}));
  Put("comes", "1");
  cluster.Compact();
  cut = false;
  ASSERT_TRUE(Told("removed goes"));
  ASSERT_TRUE(Told("added comes"));
  std::lock_guard lock(mutex);
  EXPECT_EQ(std::count(story.begin(), story.end(), "changed stays"), 0)
      << "told though nothing changed";
}

TEST_F(InformerTest, SaysWhatIsMissingUntilTheServerAnswers) {
  cut = true;
  cluster.OnRequest([this](const std::string&) -> Status {
    return cut ? Status(Fail(Code::kPermissionDenied, "list configmaps: forbidden")) : Ok();
  });
  Start({{.type = resources::kConfigMap}});
  EXPECT_FALSE(informers->WaitSynced(steady_clock::now() + milliseconds(50)));
  EXPECT_FALSE(informers->HasSynced());
  const auto deadline = steady_clock::now() + seconds(10);
  while (informers->NotSyncedReason() != "configmaps: list configmaps: forbidden" &&
         steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_EQ(informers->NotSyncedReason(), "configmaps: list configmaps: forbidden");
  cut = false;
  EXPECT_TRUE(Synced());
  EXPECT_EQ(informers->NotSyncedReason(), "");
}

TEST_F(InformerTest, AnOptionalResourceMayBeMissing) {
  cluster.OnRequest([](const std::string& request) -> Status {
    if (request.starts_with("list things")) return Fail(Code::kNotFound, "404");
    return Ok();
  });
  Start({{.type = kThing, .optional = true}, {.type = resources::kConfigMap}});
  EXPECT_TRUE(Synced());
  EXPECT_FALSE(informers->Find(kThing, {"ns", "a"}));
}

TEST_F(InformerTest, ATransformShrinksWhatIsKept) {
  Json object = Object("a", "1");
  object["metadata"]["managedFields"] = Json::array({1, 2, 3});
  object["metadata"]["annotations"] = {{"kubectl.kubernetes.io/last-applied-configuration", "{}"},
                                       {"keep", "me"}};
  ASSERT_TRUE(cluster.Create(resources::kConfigMap, object));
  ASSERT_TRUE(cluster.Create(resources::kSecret, object));
  Start({{.type = resources::kConfigMap},
         {.type = resources::kSecret, .transform = [](Json& kept) { kept.erase("data"); }}});
  ASSERT_TRUE(Synced());
  const auto map = *informers->Find(resources::kConfigMap, {"ns", "a"});
  EXPECT_FALSE((*map)["metadata"].contains("managedFields"));
  EXPECT_EQ((*map)["metadata"]["annotations"], Json({{"keep", "me"}}));
  EXPECT_FALSE((*informers->Find(resources::kSecret, {"ns", "a"}))->contains("data"));
}

TEST_F(InformerTest, EndsQuicklyWithOpenWatches) {
  Start({{.type = resources::kConfigMap}, {.type = resources::kPod}, {.type = kThing}});
  ASSERT_TRUE(Synced());
  const auto begun = steady_clock::now();
  informers.reset();
  EXPECT_LT(steady_clock::now() - begun, seconds(5));
}

}  // namespace
}  // namespace sluice::kube
