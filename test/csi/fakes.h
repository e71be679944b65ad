// In-memory stand-ins for the node plane's ports.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sluice/csi/fuse_broker.h"
#include "sluice/platform/guarded.h"
#include "sluice/ports/clock.h"
#include "sluice/ports/cluster.h"
#include "sluice/ports/mounter.h"

namespace sluice::csi {

class ManualClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::steady_clock::time_point Now() const override {
    return now_.With([](const auto& now) { return now; });
  }
  // As long after its epoch as the other is after the start.
  [[nodiscard]] std::chrono::system_clock::time_point WallNow() const override {
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(Now() - start_));
  }
  void Advance(std::chrono::milliseconds by) {
    now_.With([&](auto& now) { now += by; });
  }

 private:
  // The real time, as PatientCaller waits by it.
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  platform::Guarded<std::chrono::steady_clock::time_point> now_{start_};
};

// A mount table and a tree of paths. Threads: any.
class FakeMounter final : public Mounter {
 public:
  struct World {
    std::vector<MountPoint> mounts;
    std::map<std::string, PathInfo> paths;  // what is not there is missing
    std::map<std::string, Liveness> liveness;
    std::set<std::string> existing_sub_paths;
    std::vector<std::string> aborted;
    unsigned next_device = 40;
    Status bind_result = Ok();
  };
  platform::Guarded<World> world;
  std::function<void()> before_detach = [] {};

  // A mount of its own device at `path`.
  void AddMount(const std::string& path, const std::string& type, bool read_only = false) {
    world.With([&](World& w) {
      w.mounts.push_back({.path = path,
                          .fs_type = type,
                          .source = type,
                          .root = "/",
                          .major = 0,
                          .minor = w.next_device++,
                          .read_only = read_only});
    });
  }
  [[nodiscard]] bool IsMounted(const std::string& path) const { return CountMounts(path) > 0; }
  [[nodiscard]] long CountMounts(const std::string& path) const {
    return world.With([&](const World& w) {
      return std::count_if(w.mounts.begin(), w.mounts.end(),
                           [&](const MountPoint& m) { return m.path == path; });
    });
  }

  Result<std::vector<MountPoint>> Mounts() override {
    return world.With([](const World& w) { return w.mounts; });
  }
  Result<PathInfo> Inspect(const std::string&, const std::string& path) override {
    return world.With([&](const World& w) {
      const auto found = w.paths.find(path);
      return found == w.paths.end() ? PathInfo{} : found->second;
    });
  }
  Result<std::vector<std::string>> List(const std::string& root, const std::string& path) override {
    return world.With([&](const World& w) -> Result<std::vector<std::string>> {
      const auto found = w.paths.find(path);
      if (path != root && found == w.paths.end()) return Fail(Code::kNotFound, path);
      if (path != root && found->second.kind != PathInfo::Kind::kDirectory) {
        return Fail(Code::kInvalidArgument, path);
      }
      if (MountedIn(w, path)) return Fail(Code::kUnavailable, path + ": mounted");
      std::vector<std::string> names;
      for (const auto& [other, info] : w.paths) {
        if (other.substr(0, other.rfind('/')) == path)
          names.push_back(other.substr(path.size() + 1));
      }
      return names;
    });
  }
  Status MakeDirectories(const std::string& root, const std::string& path, unsigned) override {
    world.With([&](World& w) {
      for (std::string made = path; made.size() > root.size(); made.resize(made.rfind('/'))) {
        w.paths[made].kind = PathInfo::Kind::kDirectory;
      }
    });
    return Ok();
  }
  Status Remove(const std::string&, const std::string& path) override {
    return world.With([&](World& w) -> Status {
      if (MountedIn(w, path)) return Fail(Code::kUnavailable, path + ": busy");
      const auto next = w.paths.upper_bound(path + "/");
      if (next != w.paths.end() && next->first.starts_with(path + "/")) {
        return Fail(Code::kInternal, path + ": not empty");
      }
      w.paths.erase(path);
      return Ok();
    });
  }
  Status Link(const std::string& source, const std::string&, const std::string& target) override {
    world.With(
        [&](World& w) { w.paths[target] = {.kind = PathInfo::Kind::kSymlink, .link = source}; });
    return Ok();
  }
  Status Detach(const std::string& path) override {
    before_detach();
    world.With([&](World& w) {
      std::erase_if(w.mounts, [&](const MountPoint& m) { return m.path == path; });
    });
    return Ok();
  }
  Status Abort(const MountPoint& mount) override {
    world.With([&](World& w) { w.aborted.push_back(mount.path); });
    return Ok();
  }
  Result<Liveness> Probe(const std::string& source, const std::string& sub_path) override {
    return world.With([&](const World& w) -> Result<Liveness> {
      const auto found = w.liveness.find(source);
      if (found != w.liveness.end() && found->second != Liveness::kAnswers) return found->second;
      const bool there = sub_path.empty() || w.existing_sub_paths.contains(sub_path);
      return there ? Liveness::kAnswers : Liveness::kMissing;
    });
  }
  Status Bind(const BindSpec& spec) override {
    return world.With([&](World& w) -> Status {
      if (!w.bind_result) return w.bind_result;
      for (const MountPoint& mount : std::vector<MountPoint>(w.mounts)) {
        if (mount.path != spec.source) continue;
        MountPoint bound = mount;
        bound.path = spec.target;
        bound.root = spec.sub_path.empty() ? "/" : "/" + spec.sub_path;
        bound.read_only = spec.read_only || mount.read_only;
        w.mounts.push_back(bound);
        w.paths[spec.target].kind = PathInfo::Kind::kDirectory;
        return Ok();
      }
      return Fail(Code::kInternal, "bind: no mount at " + spec.source);
    });
  }

 private:
  static bool MountedIn(const World& w, const std::string& path) {
    return std::ranges::any_of(w.mounts, [&](const MountPoint& m) { return m.path == path; });
  }
};

// Attaches by adding to the mounter's table. The test plays the client.
class FakeBroker final : public FuseBroker {
 public:
  FakeBroker(FakeMounter& mounter, ManualClock& clock) : mounter_(mounter), clock_(clock) {}

  platform::Guarded<std::map<std::string, FuseClientState>> clients;
  Status attach_result = Ok();
  Status release_result = Ok();
  std::function<void()> before_wait = [] {};
  FuseClientState fresh;  // what a new attachment looks like

  void SetClient(const std::string& id, const FuseClientState& state) {
    clients.With([&](auto& map) { map[id] = state; });
  }

  Status Attach(const FuseAttachment& attachment) override {
    if (!attach_result) return attach_result;
    mounter_.AddMount(attachment.mount_point, "fuse.sluice", attachment.read_only);
    clients.With([&](auto& map) { map[attachment.id] = fresh; });
    return Ok();
  }
  Status Adopt(const FuseAttachment& attachment) override {
    clients.With([&](auto& map) { map[attachment.id] = FuseClientState{}; });
    return Ok();
  }
  Status Release(const std::string& id) override {
    if (!release_result) return release_result;
    clients.With([&](auto& map) { map.erase(id); });
    return Ok();
  }
  Status Discard(const std::string& directory) override {
    discarded.push_back(directory);
    return Ok();
  }
  Result<FuseClientState> State(const std::string& id) override {
    return clients.With([&](auto& map) -> Result<FuseClientState> {
      const auto found = map.find(id);
      if (found == map.end()) return Fail(Code::kNotFound, id);
      return found->second;
    });
  }
  Status WaitReady(const std::string& id, std::chrono::steady_clock::time_point deadline) override {
    before_wait();
    const auto state = State(id);
    if (!state) return Fail(state.error());
    if (state->ready) return Ok();
    clock_.Advance(std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock_.Now()) +
                   std::chrono::milliseconds(1));
    return Fail(Code::kDeadlineExceeded, "not ready");
  }

  std::vector<std::string> discarded;

 private:
  FakeMounter& mounter_;
  ManualClock& clock_;
};

// Objects by kind and name; reads and merge patches only. Threads: any.
class FakeApi final : public Cluster {
 public:
  platform::Guarded<std::map<std::string, Json>> objects;
  platform::Guarded<Status> patch_result{Ok()};  // what patches answer; they are done all the same
  bool patch_refused = false;                    // patches are not done, and answered so
  std::function<void(const std::string& id)> before_get = [](const std::string&) {};
  std::function<void(const Json& patch)> before_patch = [](const Json&) {};

  static std::string Id(const ResourceType& type, const ObjectKey& key) {
    return type.plural + "/" + key.ToString();
  }
  void Put(const ResourceType& type, const ObjectKey& key, Json object) {
    objects.With([&](auto& map) { map[Id(type, key)] = std::move(object); });
  }
  void Drop(const ResourceType& type, const ObjectKey& key) {
    objects.With([&](auto& map) { map.erase(Id(type, key)); });
  }

  Result<Json> Get(const ResourceType& type, const ObjectKey& key) override {
    before_get(Id(type, key));
    return objects.With([&](auto& map) -> Result<Json> {
      const auto found = map.find(Id(type, key));
      if (found == map.end()) return Fail(Code::kNotFound, Id(type, key));
      return found->second;
    });
  }
  Result<Json> MergePatch(const ResourceType& type, const ObjectKey& key, const Json& patch,
                          const std::string&) override {
    before_patch(patch);
    if (patch_refused) return Fail(Code::kUnavailable, Id(type, key) + ": refused");
    Result<Json> patched = objects.With([&](auto& map) -> Result<Json> {
      const auto found = map.find(Id(type, key));
      if (found == map.end()) return Fail(Code::kNotFound, Id(type, key));
      found->second.merge_patch(patch);
      return found->second;
    });
    const Status answer = patch_result.With([](const Status& s) { return s; });
    if (!answer) return Fail(answer.error());
    return patched;
  }
  Result<ObjectList> List(const ResourceType&, const ListOptions&) override { return Unused(); }
  Result<Json> Create(const ResourceType&, const Json&) override { return Unused(); }
  Result<Json> Replace(const ResourceType&, const Json&) override { return Unused(); }
  Result<Json> Apply(const ResourceType&, const Json&) override { return Unused(); }
  Result<Json> ApplyStatus(const ResourceType&, const Json&) override { return Unused(); }
  Status Delete(const ResourceType&, const ObjectKey&, const DeleteOptions&) override {
    return Unused();
  }
  Status Watch(const ResourceType&, const ListOptions&, const std::string&, const std::stop_token&,
               const std::function<void(WatchEvent)>&) override {
    return Unused();
  }

 private:
  static tl::unexpected<Error> Unused() { return Fail(Code::kInternal, "not in this fake"); }
};

}  // namespace sluice::csi
