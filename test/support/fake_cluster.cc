#include "fake_cluster.h"

#include <algorithm>

#include <fmt/format.h>

#include "sluice/core/json_access.h"

namespace sluice::test {
namespace {

Status NoObject(const ResourceType& type, const ObjectKey& key) {
  return Fail(Code::kNotFound, fmt::format("{} {} not found", type.plural, key.ToString()));
}

std::string VersionOf(const Json& object) { return StringAt(object, "/metadata/resourceVersion"); }

// "a=b,c,!d" as far as tests use it: equality and existence.
bool Selected(const Json& object, const std::string& selector) {
  const Json& labels = ChildOf(ChildOf(object, "metadata"), "labels");
  std::size_t begin = 0;
  while (begin < selector.size()) {
    const std::size_t end = std::min(selector.find(',', begin), selector.size());
    const std::string term = selector.substr(begin, end - begin);
    const auto equals = term.find('=');
    const std::string key = term.substr(0, equals);
    if (!labels.contains(key)) return false;
    if (equals != std::string::npos && labels[key] != term.substr(equals + 1)) return false;
    begin = end + 1;
  }
  return true;
}

// Removes from `live` what `old` had and `fresh` lacks, then merges `fresh` in.
void MergeApplied(const Json& old, const Json& fresh, Json& live, const std::string& field = "") {
  if (!fresh.is_object()) {
    live = fresh;
    return;
  }
  if (!live.is_object()) live = Json::object();
  if (old.is_object()) {
    for (const auto& [key, value] : old.items()) {
      if (!fresh.contains(key)) live.erase(key);
    }
  }
  for (const auto& [key, value] : fresh.items()) {
    if (field == "metadata" && key == "resourceVersion") continue;
    if (field == "metadata" && (key == "finalizers" || key == "ownerReferences")) {
      Json& list = ListIn(live, key);
      for (const Json& was : ItemsOf(old, key)) {
        if (std::ranges::find(value, was) == value.end()) {
          list.erase(std::remove(list.begin(), list.end(), was), list.end());
        }
      }
      for (const Json& item : value) {
        if (std::ranges::find(list, item) == list.end()) list.push_back(item);
      }
      continue;
    }
    const Json none;
    const Json& was = old.is_object() && old.contains(key) ? old[key] : none;
    MergeApplied(was, value, live[key], key);
  }
}

}  // namespace

Status FakeCluster::Check(const char* verb, const ResourceType& type, const ObjectKey& key) {
  std::function<Status(const std::string&)> hook;
  {
    std::lock_guard lock(mutex_);
    hook = hook_;
  }
  if (!hook) return Ok();
  return hook(fmt::format("{} {} {}", verb, type.plural, key.ToString()));
}

Json FakeCluster::NewObject(const ResourceType& type, Json object) {
  object["apiVersion"] = type.ApiVersion();
  object["kind"] = type.kind;
  Json& metadata = ObjectIn(object, "metadata");
  metadata["uid"] = fmt::format("uid-{}", next_uid_++);
  metadata["creationTimestamp"] = time_;
  metadata["generation"] = 1;
  return object;
}

// Writes `after` unless nothing differs; drops an object that is deleted and has no finalizer left.
Result<Json> FakeCluster::Store(const ResourceType& type, const Json* before, Json after) {
  const ObjectKey key = KeyOf(after);
  if (before != nullptr) {
    after["metadata"]["resourceVersion"] = VersionOf(*before);
    if (after == *before) return after;
    const auto spec_of = [](const Json& object) { return ValueAt(object, "/spec"); };
    if (spec_of(after) != spec_of(*before) && after["metadata"].contains("generation")) {
      after["metadata"]["generation"] = after["metadata"]["generation"].get<int>() + 1;
    }
  }
  ++writes_;
  after["metadata"]["resourceVersion"] = std::to_string(++version_);
  const bool gone = !StringAt(after, "/metadata/deletionTimestamp").empty() &&
                    ItemsOf(after["metadata"], "finalizers").empty();
  WatchEvent event{.type = gone                ? WatchEvent::Type::kDeleted
                           : before == nullptr ? WatchEvent::Type::kAdded
                                               : WatchEvent::Type::kModified,
                   .object = after};
  if (gone) {
    objects_[type].erase(key);
    applied_.erase({type, key, false});
    applied_.erase({type, key, true});
  } else {
    objects_[type][key] = after;
  }
  history_.push_back({.version = version_, .type = type, .event = std::move(event)});
  changed_.notify_all();
  return after;
}

Result<Json> FakeCluster::Get(const ResourceType& type, const ObjectKey& key) {
  if (Status checked = Check("get", type, key); !checked) return Fail(checked.error());
  std::lock_guard lock(mutex_);
  const auto& objects = objects_[type];
  const auto found = objects.find(key);
  if (found == objects.end()) return Fail(NoObject(type, key).error());
  return found->second;
}

Result<ObjectList> FakeCluster::List(const ResourceType& type, const ListOptions& options) {
  if (Status checked = Check("list", type, {options.ns, ""}); !checked) {
    return Fail(checked.error());
  }
  std::lock_guard lock(mutex_);
  ObjectList list;
  for (const auto& [key, object] : objects_[type]) {
    if ((options.ns.empty() || key.ns == options.ns) && Selected(object, options.label_selector)) {
      list.items.push_back(object);
    }
  }
  list.resource_version = std::to_string(version_);
  return list;
}

Result<Json> FakeCluster::Create(const ResourceType& type, const Json& object) {
  const ObjectKey key = KeyOf(object);
  if (Status checked = Check("create", type, key); !checked) return Fail(checked.error());
  std::lock_guard lock(mutex_);
  if (objects_[type].contains(key)) {
    return Fail(Code::kAlreadyExists, fmt::format("{} {} exists", type.plural, key.ToString()));
  }
  return Store(type, nullptr, NewObject(type, object));
}

Result<Json> FakeCluster::Replace(const ResourceType& type, const Json& object) {
  const ObjectKey key = KeyOf(object);
  if (Status checked = Check("replace", type, key); !checked) return Fail(checked.error());
  std::lock_guard lock(mutex_);
  const auto found = objects_[type].find(key);
  if (found == objects_[type].end()) return Fail(NoObject(type, key).error());
  if (!VersionOf(object).empty() && VersionOf(object) != VersionOf(found->second)) {
    return Fail(Code::kConflict, fmt::format("{} {} was changed", type.plural, key.ToString()));
  }
  const Json before = found->second;
  return Store(type, &before, object);
}

Result<Json> FakeCluster::ApplyPart(const ResourceType& type, const Json& object, bool status) {
  const ObjectKey key = KeyOf(object);
  const auto found = objects_[type].find(key);
  const std::string uid = StringAt(object, "/metadata/uid");
  if (found == objects_[type].end()) {
    if (status) return Fail(NoObject(type, key).error());
    if (!uid.empty()) return Fail(Code::kConflict, "uid mismatch: no existing object was found");
  } else if (!uid.empty() && uid != StringAt(found->second, "/metadata/uid")) {
    return Fail(Code::kConflict, "uid mismatch");
  }
  Json fresh = status ? Json{{"status", ValueAt(object, "/status")}} : object;
  if (!status) fresh.erase("status");
  Json& old = applied_[{type, key, status}];
  if (found == objects_[type].end()) {
    old = fresh;
    return Store(type, nullptr, NewObject(type, fresh));
  }
  const Json before = found->second;
  Json live = before;
  MergeApplied(old, fresh, live);
  old = fresh;
  return Store(type, &before, std::move(live));
}

Result<Json> FakeCluster::Apply(const ResourceType& type, const Json& object) {
  if (Status checked = Check("apply", type, KeyOf(object)); !checked) {
    return Fail(checked.error());
  }
  std::lock_guard lock(mutex_);
  return ApplyPart(type, object, false);
}

Result<Json> FakeCluster::ApplyStatus(const ResourceType& type, const Json& object) {
  if (Status checked = Check("apply-status", type, KeyOf(object)); !checked) {
    return Fail(checked.error());
  }
  std::lock_guard lock(mutex_);
  return ApplyPart(type, object, true);
}

Result<Json> FakeCluster::MergePatch(const ResourceType& type, const ObjectKey& key,
                                     const Json& patch, const std::string& subresource) {
  if (Status checked = Check("patch", type, key); !checked) return Fail(checked.error());
  std::lock_guard lock(mutex_);
  const auto found = objects_[type].find(key);
  if (found == objects_[type].end()) return Fail(NoObject(type, key).error());
  const std::string version = VersionOf(patch);
  if (!version.empty() && version != VersionOf(found->second)) {
    return Fail(Code::kConflict, fmt::format("{} {} was changed", type.plural, key.ToString()));
  }
  const Json before = found->second;
  Json after = before;
  Json part = patch;
  if (subresource == "status") part = {{"status", ValueAt(patch, "/status")}};
  after.merge_patch(part);
  return Store(type, &before, std::move(after));
}

Status FakeCluster::Delete(const ResourceType& type, const ObjectKey& key,
                           const DeleteOptions& options) {
  if (Status checked = Check("delete", type, key); !checked) return checked;
  std::lock_guard lock(mutex_);
  const auto found = objects_[type].find(key);
  if (found == objects_[type].end()) return NoObject(type, key);
  if (!options.uid.empty() && options.uid != StringAt(found->second, "/metadata/uid")) {
    return Fail(Code::kConflict, "uid precondition failed");
  }
  const Json before = found->second;
  Json after = before;
  if (StringAt(after, "/metadata/deletionTimestamp").empty()) {
    after["metadata"]["deletionTimestamp"] = time_;
  }
  if (auto stored = Store(type, &before, std::move(after)); !stored) return Fail(stored.error());
  return Ok();
}

Status FakeCluster::Watch(const ResourceType& type, const ListOptions& options,
                          const std::string& resource_version, const std::stop_token& stop,
                          const std::function<void(WatchEvent)>& on_event) {
  if (Status checked = Check("watch", type, {options.ns, ""}); !checked) return checked;
  std::uint64_t seen = resource_version.empty() ? 0 : std::stoull(resource_version);
  std::unique_lock lock(mutex_);
  const std::uint64_t epoch = watch_epoch_;
  while (!stop.stop_requested() && epoch == watch_epoch_) {
    if (seen < compacted_) return Fail(Code::kConflict, "too old resource version (HTTP 410)");
    std::vector<WatchEvent> due;
    for (const Event& entry : history_) {
      if (entry.version <= seen || entry.type != type) continue;
      const ObjectKey key = KeyOf(entry.event.object);
      if ((!options.ns.empty() && key.ns != options.ns) ||
          !Selected(entry.event.object, options.label_selector)) {
        continue;
      }
      due.push_back(entry.event);
    }
    seen = version_;
    if (!due.empty()) {
      lock.unlock();
      for (WatchEvent& event : due) on_event(std::move(event));
      lock.lock();
      continue;
    }
    changed_.wait_for(lock, stop, std::chrono::seconds(10),
                      [&] { return version_ > seen || epoch != watch_epoch_; });
  }
  return Ok();
}

void FakeCluster::SetTime(std::string time) {
  std::lock_guard lock(mutex_);
  time_ = std::move(time);
}

void FakeCluster::OnRequest(std::function<Status(const std::string&)> hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

void FakeCluster::Compact() {
  std::lock_guard lock(mutex_);
  history_.clear();
  compacted_ = ++version_;
  ++watch_epoch_;
  changed_.notify_all();
}

void FakeCluster::EndWatches() {
  std::lock_guard lock(mutex_);
  ++watch_epoch_;
  changed_.notify_all();
}

std::uint64_t FakeCluster::Writes() const {
  std::lock_guard lock(mutex_);
  return writes_;
}

}  // namespace sluice::test
