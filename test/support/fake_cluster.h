// An API server in memory: resource versions, conflicts, uids, finalizers, status subresources,
// label selectors, watches. Server-side apply is approximated: the applied fields are merged, and
// fields that the former application had and this one lacks are removed; lists are replaced, but
// finalizers (a set) and owner references (by uid).
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "sluice/ports/cluster.h"

namespace sluice::test {

class FakeCluster final : public Cluster {
 public:
  Result<Json> Get(const ResourceType& type, const ObjectKey& key) override;
  Result<ObjectList> List(const ResourceType& type, const ListOptions& options) override;
  Result<Json> Create(const ResourceType& type, const Json& object) override;
  Result<Json> Replace(const ResourceType& type, const Json& object) override;
  Result<Json> Apply(const ResourceType& type, const Json& object) override;
  Result<Json> ApplyStatus(const ResourceType& type, const Json& object) override;
  Result<Json> MergePatch(const ResourceType& type, const ObjectKey& key, const Json& patch,
                          const std::string& subresource = "") override;
  Status Delete(const ResourceType& type, const ObjectKey& key,
                const DeleteOptions& options = {}) override;
  Status Watch(const ResourceType& type, const ListOptions& options,
               const std::string& resource_version, const std::stop_token& stop,
               const std::function<void(WatchEvent)>& on_event) override;

  // The time that deletionTimestamp and creationTimestamp get; tests may turn it.
  void SetTime(std::string time);
  // Called before each request with "<verb> <plural> <key>"; an error it returns is the answer.
  void OnRequest(std::function<Status(const std::string&)> hook);
  // Forgets the history: watches from before now answer kConflict, as after a compaction.
  void Compact();
  // Ends every watch that runs now, as a server that restarts.
  void EndWatches();
  // Requests that changed something.
  [[nodiscard]] std::uint64_t Writes() const;

 private:
  struct Event {
    std::uint64_t version;
    ResourceType type;
    WatchEvent event;
  };
  using ObjectMap = std::map<ObjectKey, Json>;

  Status Check(const char* verb, const ResourceType& type, const ObjectKey& key);
  // The rest run under the lock.
  Result<Json> Store(const ResourceType& type, const Json* before, Json after);
  Result<Json> ApplyPart(const ResourceType& type, const Json& object, bool status);
  Json NewObject(const ResourceType& type, Json object);

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::function<Status(const std::string&)> hook_;
  std::map<ResourceType, ObjectMap> objects_;
  // What was applied last, by type, object and part.
  std::map<std::tuple<ResourceType, ObjectKey, bool>, Json> applied_;
  std::vector<Event> history_;
  std::uint64_t version_ = 1;
  std::uint64_t compacted_ = 0;
  std::uint64_t watch_epoch_ = 0;
  std::uint64_t next_uid_ = 1;
  std::uint64_t writes_ = 0;
  std::string time_ = "2026-01-01T00:00:00Z";
};

}  // namespace sluice::test
