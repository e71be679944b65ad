// The Kubernetes API as the engines need it. The adapter is kube/; the in-memory fake is
// test/support/fake_cluster.h; both pass the same contract test.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice {

struct ListOptions {
  std::string ns = {};              // empty: all namespaces
  std::string label_selector = {};  // as on the wire; empty: none
  std::string field_selector = {};
};

struct ObjectList {
  std::vector<Json> items;  // apiVersion and kind are filled in
  std::string resource_version;
};

struct WatchEvent {
  enum class Type { kAdded, kModified, kDeleted, kBookmark };
  Type type = Type::kAdded;
  Json object;
};

struct DeleteOptions {
  std::string uid = {};  // precondition; empty: none
  std::string propagation = "Background";
};

// Every call has a deadline of its own (seconds, set at construction), retries only what is safe to
// repeat, and may be made from any thread. Errors: kNotFound 404, kAlreadyExists 409 on create,
// kConflict 409 elsewhere, kInvalidArgument 400/422, kPermissionDenied 401/403, kUnavailable for
// 429/5xx and transport failures, kDeadlineExceeded. Messages name verb, resource and object.
class Cluster {
 public:
  virtual ~Cluster() = default;

  virtual Result<Json> Get(const ResourceType& type, const ObjectKey& key) = 0;
  virtual Result<ObjectList> List(const ResourceType& type, const ListOptions& options) = 0;
  virtual Result<Json> Create(const ResourceType& type, const Json& object) = 0;
  // PUT of the whole object under its metadata.resourceVersion.
  virtual Result<Json> Replace(const ResourceType& type, const Json& object) = 0;
  // Server-side apply, forced, with the field manager given at construction.
  virtual Result<Json> Apply(const ResourceType& type, const Json& object) = 0;
  // Server-side apply of the status subresource.
  virtual Result<Json> ApplyStatus(const ResourceType& type, const Json& object) = 0;
  // JSON merge patch; `subresource` empty or "status", "scale".
  virtual Result<Json> MergePatch(const ResourceType& type, const ObjectKey& key, const Json& patch,
                                  const std::string& subresource = "") = 0;
  // Absent objects are kNotFound.
  virtual Status Delete(const ResourceType& type, const ObjectKey& key,
                        const DeleteOptions& options = {}) = 0;
  // Streams events after `resource_version` until the server ends the stream (Ok), the token stops
  // (Ok) or an error; an expired version is kConflict ("410 Gone"): list again.
  virtual Status Watch(const ResourceType& type, const ListOptions& options,
                       const std::string& resource_version, const std::stop_token& stop,
                       const std::function<void(WatchEvent)>& on_event) = 0;
};

}  // namespace sluice
