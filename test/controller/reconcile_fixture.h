// A reconciler over the in-memory cluster, with a Dataset and runtime to start from.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sluice/controller/dataset_reconciler.h"

#include "fake_cluster.h"
#include "manual_clock.h"

namespace sluice::controller {

using test::ManualClock;

// Reads the cluster itself: no snapshot between the reconciler and what it has just done.
class LiveSource final : public ObjectSource {
 public:
  explicit LiveSource(Cluster& cluster) : cluster_(cluster) {}
  Result<std::shared_ptr<const Json>> Find(const ResourceType& type,
                                           const ObjectKey& key) const override {
    auto got = cluster_.Get(type, key);
    if (!got) return Fail(got.error());
    return std::make_shared<const Json>(std::move(*got));
  }

 private:
  Cluster& cluster_;
};

class ReconcileFixture {
 public:
  explicit ReconcileFixture(Cluster& cluster)
      : cluster_(cluster),
        source_(cluster),
        reconciler_(NativeProfile(), {.fuse_image = "sluice:test"}, {},
                    {.cluster = cluster,
                     .known = source_,
                     .clock = clock_,
                     .emit = [this](const PlannedEvent& event) { events_.push_back(event); },
                     .make_secret = [this] { return "password-" + std::to_string(++passwords_); },
                     .log = platform::Log("test", platform::LogLevel::kError),
                     .metrics = metrics_}) {}

  static Json Dataset(const std::string& name = "demo") {
    return {{"apiVersion", "data.fluid.io/v1alpha1"},
            {"kind", "Dataset"},
            {"metadata", {{"name", name}, {"namespace", "default"}}},
            {"spec",
             {{"mounts", Json::array({{{"mountPoint", "s3://models/llm"},
                                       {"name", "llm"},
                                       {"path", "/"},
                                       {"options", {{"endpoint", "http://minio:9000"}}}}})}}}};
  }
  static Json Runtime(const std::string& name = "demo") {
    return {{"apiVersion", "data.fluid.io/v1alpha1"},
            {"kind", "SluiceRuntime"},
            {"metadata", {{"name", name}, {"namespace", "default"}}},
            {"spec", Json::object()}};
  }

  void Create(const ResourceType& type, const Json& object) {
    auto created = cluster_.Create(type, object);
    ASSERT_TRUE(created) << created.error().message;
  }
  void CreatePair(const std::string& name = "demo") {
    Create(resources::kDataset, Dataset(name));
    Create(resources::kSluiceRuntime, Runtime(name));
  }
  // One round; the seconds until the next, or -1 for "on the next change".
  long Reconcile(const std::string& name = "demo") {
    auto next = reconciler_.Reconcile({"default", name});
    EXPECT_TRUE(next) << next.error().message;
    return next && *next ? static_cast<long>((*next)->count()) : -1;
  }
  // Whether a round went well.
  bool TryReconcile() { return reconciler_.Reconcile({"default", "demo"}).has_value(); }
  Json Get(const ResourceType& type, const ObjectKey& key) {
    auto got = cluster_.Get(type, key);
    return got ? *got : Json();
  }
  Json GetDataset(const std::string& name = "demo") {
    return Get(resources::kDataset, {"default", name});
  }
  Json GetRuntime(const std::string& name = "demo") {
    return Get(resources::kSluiceRuntime, {"default", name});
  }
  std::string Phase(const std::string& name = "demo") {
    return StringAt(GetDataset(name), "/status/phase", "none");
  }
  // The condition's "<status> <reason>: <message>", or "none".
  std::string Condition(const std::string& type, const std::string& name = "demo") {
    const Json dataset = GetDataset(name);
    for (const Json& condition : ValueAt(dataset, "/status/conditions")) {
      if (condition["type"] == type) {
        return condition["status"].get<std::string>() + " " +
               condition["reason"].get<std::string>() + ": " +
               condition["message"].get<std::string>();
      }
    }
    return "none";
  }
  // "<kind> <reason>" of the events so far, which are then forgotten.
  std::vector<std::string> TakeEvents() {
    std::vector<std::string> texts;
    for (const PlannedEvent& event : events_) {
      texts.push_back(event.about["kind"].get<std::string>() + " " + event.reason);
    }
    events_.clear();
    return texts;
  }
  const std::vector<PlannedEvent>& Events() const { return events_; }

  ManualClock& Time() { return clock_; }

 private:
  Cluster& cluster_;
  LiveSource source_;
  // Ten seconds after the time that the fake gives its objects: 2026-01-01T00:00:10Z.
  ManualClock clock_{std::chrono::seconds(1767225610)};
  platform::Metrics metrics_;
  std::vector<PlannedEvent> events_;
  int passwords_ = 0;
  DatasetReconciler reconciler_;
};

}  // namespace sluice::controller
