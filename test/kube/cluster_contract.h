// What every Cluster must do; run against the fake and against a real API server.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "sluice/ports/cluster.h"

namespace sluice::test {

// A Cluster that holds the namespace "default" and may be shared by all tests.
using ClusterFactory = Cluster* (*)();

class ClusterContract : public testing::TestWithParam<ClusterFactory> {
 protected:
  void SetUp() override {
    cluster_ = GetParam()();
    if (cluster_ == nullptr) GTEST_SKIP() << "no API server here";
  }

  // Each test has names of its own.
  static std::string Name(const std::string& suffix = "") {
    return std::string("t-") +
           std::to_string(testing::UnitTest::GetInstance()->current_test_info()->line()) + suffix;
  }
  static Json ConfigMap(const std::string& name, const Json& data = Json::object()) {
    return {{"apiVersion", "v1"},
            {"kind", "ConfigMap"},
            {"metadata", {{"name", name}, {"namespace", "default"}}},
            {"data", data}};
  }
  static std::string Version(const Json& object) {
    return StringAt(object, "/metadata/resourceVersion");
  }
  static ObjectKey Key(const std::string& name) { return {"default", name}; }

  Cluster* cluster_ = nullptr;
};

TEST_P(ClusterContract, GetOfNothingIsNotFound) {
  auto got = cluster_->Get(resources::kConfigMap, Key(Name()));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kNotFound);
  EXPECT_NE(got.error().message.find(Name()), std::string::npos) << got.error().message;
}

TEST_P(ClusterContract, CreatesOnceOnly) {
  auto created = cluster_->Create(resources::kConfigMap, ConfigMap(Name(), {{"a", "1"}}));
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_FALSE(StringAt(*created, "/metadata/uid").empty());
  auto again = cluster_->Create(resources::kConfigMap, ConfigMap(Name()));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kAlreadyExists);
}

TEST_P(ClusterContract, ReplaceUnderAnOldVersionIsAConflict) {
  auto created = cluster_->Create(resources::kConfigMap, ConfigMap(Name(), {{"a", "1"}}));
  ASSERT_TRUE(created);
  Json changed = *created;
  changed["data"]["a"] = "2";
  auto first = cluster_->Replace(resources::kConfigMap, changed);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_NE(Version(*first), Version(*created));
  changed["data"]["a"] = "3";
  auto second = cluster_->Replace(resources::kConfigMap, changed);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kConflict);
}

TEST_P(ClusterContract, ApplyCreatesChangesRemovesAndIsIdempotent) {
  const Json first = ConfigMap(Name(), {{"a", "1"}, {"b", "2"}});
  auto created = cluster_->Apply(resources::kConfigMap, first);
  ASSERT_TRUE(created) << created.error().message;
  auto same = cluster_->Apply(resources::kConfigMap, first);
  ASSERT_TRUE(same);
  EXPECT_EQ(Version(*same), Version(*created)) << "applying the same again changed the object";
  auto fewer = cluster_->Apply(resources::kConfigMap, ConfigMap(Name(), {{"a", "3"}}));
  ASSERT_TRUE(fewer);
  EXPECT_EQ((*fewer)["data"], Json({{"a", "3"}}));
}

TEST_P(ClusterContract, ApplyLeavesFieldsOfOthersAlone) {
  ASSERT_TRUE(cluster_->Create(resources::kConfigMap, ConfigMap(Name(), {{"theirs", "x"}})));
  auto applied = cluster_->Apply(resources::kConfigMap, ConfigMap(Name(), {{"ours", "y"}}));
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ((*applied)["data"], Json({{"ours", "y"}, {"theirs", "x"}}));
}

TEST_P(ClusterContract, ApplyWithAUidNeverCreates) {
  Json object = ConfigMap(Name());
  object["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000";
  auto applied = cluster_->Apply(resources::kConfigMap, object);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, Code::kConflict) << applied.error().message;
}

TEST_P(ClusterContract, AppliesFinalizersAsASet) {
  Json theirs = ConfigMap(Name());
  theirs["metadata"]["finalizers"] = {"example.org/theirs"};
  ASSERT_TRUE(cluster_->Create(resources::kConfigMap, theirs));
  Json ours = ConfigMap(Name());
  ours["metadata"]["finalizers"] = {"example.org/ours"};
  auto applied = cluster_->Apply(resources::kConfigMap, ours);
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ((*applied)["metadata"]["finalizers"].size(), 2U);
  // Deleting waits for the finalizers.
  ASSERT_TRUE(cluster_->Delete(resources::kConfigMap, Key(Name())));
  auto waiting = cluster_->Get(resources::kConfigMap, Key(Name()));
  ASSERT_TRUE(waiting);
  EXPECT_FALSE(StringAt(*waiting, "/metadata/deletionTimestamp").empty());
  ASSERT_TRUE(cluster_->MergePatch(resources::kConfigMap, Key(Name()),
                                   {{"metadata", {{"finalizers", Json::array()}}}}));
  auto gone = cluster_->Get(resources::kConfigMap, Key(Name()));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Code::kNotFound);
}

TEST_P(ClusterContract, MergePatchUnderAnOldVersionIsAConflict) {
  auto created = cluster_->Create(resources::kConfigMap, ConfigMap(Name(), {{"a", "1"}}));
  ASSERT_TRUE(created);
  auto patched =
      cluster_->MergePatch(resources::kConfigMap, Key(Name()), {{"data", {{"a", nullptr}}}});
  ASSERT_TRUE(patched) << patched.error().message;
  EXPECT_TRUE(patched->value("data", Json::object()).empty());
  auto stale = cluster_->MergePatch(
      resources::kConfigMap, Key(Name()),
      {{"metadata", {{"resourceVersion", Version(*created)}}}, {"data", {{"a", "2"}}}});
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, Code::kConflict);
}

TEST_P(ClusterContract, DeleteHonoursTheUid) {
  auto created = cluster_->Create(resources::kConfigMap, ConfigMap(Name()));
  ASSERT_TRUE(created);
  Status other = cluster_->Delete(resources::kConfigMap, Key(Name()), {.uid = "another"});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kConflict);
  EXPECT_TRUE(cluster_->Delete(resources::kConfigMap, Key(Name()),
                               {.uid = StringAt(*created, "/metadata/uid")}));
  Status again = cluster_->Delete(resources::kConfigMap, Key(Name()));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kNotFound);
}

TEST_P(ClusterContract, ListsByNamespaceAndLabelWithKinds) {
  for (const char* suffix : {"-1", "-2", "-3"}) {
    Json object = ConfigMap(Name(suffix));
    if (std::string(suffix) != "-3") object["metadata"]["labels"] = {{"pick", Name()}};
    ASSERT_TRUE(cluster_->Create(resources::kConfigMap, object));
  }
  auto listed =
      cluster_->List(resources::kConfigMap, {.ns = "default", .label_selector = "pick=" + Name()});
  ASSERT_TRUE(listed) << listed.error().message;
  ASSERT_EQ(listed->items.size(), 2U);
  EXPECT_EQ(listed->items[0]["kind"], "ConfigMap");
  EXPECT_EQ(listed->items[0]["apiVersion"], "v1");
  EXPECT_FALSE(listed->resource_version.empty());
  auto all = cluster_->List(resources::kConfigMap, {.label_selector = "pick"});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->items.size(), 2U);
}

TEST_P(ClusterContract, WatchTellsWhatHappensAndStops) {
  auto listed = cluster_->List(resources::kConfigMap, {.ns = "default"});
  ASSERT_TRUE(listed);
  std::mutex mutex;
  std::condition_variable_any changed;
  std::string story;
  Status outcome = Ok();
  std::jthread watcher([&](const std::stop_token& stop) {
    outcome = cluster_->Watch(resources::kConfigMap,
                              {.ns = "default", .label_selector = "watched=" + Name()},
                              listed->resource_version, stop, [&](const WatchEvent& event) {
                                if (event.type == WatchEvent::Type::kBookmark) return;
                                std::lock_guard lock(mutex);
                                story += event.type == WatchEvent::Type::kAdded      ? "A"
                                         : event.type == WatchEvent::Type::kModified ? "M"
                                                                                     : "D";
                                changed.notify_all();
                              });
  });
  Json object = ConfigMap(Name(), {{"a", "1"}});
  object["metadata"]["labels"] = {{"watched", Name()}};
  ASSERT_TRUE(cluster_->Apply(resources::kConfigMap, object));
  object["data"]["a"] = "2";
  ASSERT_TRUE(cluster_->Apply(resources::kConfigMap, object));
  ASSERT_TRUE(cluster_->Delete(resources::kConfigMap, Key(Name())));
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return story == "AMD"; }))
        << story;
  }
  watcher.request_stop();
  watcher.join();
  EXPECT_TRUE(outcome) << outcome.error().message;
}

}  // namespace sluice::test
