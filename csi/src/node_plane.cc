#include "sluice/csi/node_plane.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "sluice/csi/stopping.h"
#include "sluice/platform/pause.h"

namespace sluice::csi {
namespace {

tl::unexpected<Error> Busy(const std::string& what) {
  return Fail(Code::kConflict,
              fmt::format("{}: another operation on it is under way; try again", what));
}

// Waiting longer does not mend these: somebody has to change a Secret, a Dataset, a bucket.
bool NeedsSomebody(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kPermissionDenied:
      return true;
    case Code::kAlreadyExists:
    case Code::kConflict:
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kInternal:
      return false;
  }
  return false;
}

bool ShowsSource(const MountPoint& shown, const MountPoint& source, const VolumeRequest& request) {
  const std::string root = source.root == "/" ? "" : source.root;
  const std::string wanted = request.sub_path.empty() ? source.root : root + "/" + request.sub_path;
  return shown.SameFileSystem(source) && shown.root == wanted &&
         shown.read_only == (request.read_only || source.read_only);
}

// The mount type of the volume is a text to be found in the line of the mount table.
bool IsOfType(const MountPoint& mount, const std::string& mount_type) {
  return mount.fs_type.find(mount_type) != std::string::npos ||
         mount.source.find(mount_type) != std::string::npos;
}

std::string SourcePath(const VolumeRequest& request) {
  return request.sub_path.empty() ? request.source.mount_point
                                  : request.source.mount_point + "/" + request.sub_path;
}

}  // namespace

NodePlane::NodePlane(NodePlaneOptions options, Parts parts)
    : options_(std::move(options)), parts_(std::move(parts)) {}

Result<SharedMount> NodePlane::RecordFor(const VolumeRequest& request) {
  SharedMount mount;
  mount.source = request.source;
  mount.reader_only = request.reader_only;
  mount.volumes.insert(request.volume_id);
  const std::optional<SharedMount> known = parts_.registry.Find(mount.source.key);
  if (known && mount.source.node_label.empty()) mount.source.node_label = known->source.node_label;
  SLUICE_TRY(label, parts_.cluster.DeriveNodeLabel(mount.source), "volume " + request.volume_id);
  mount.source.node_label = std::move(label);
  if (!known) return mount;
  if (known->source.mount_point != mount.source.mount_point) {
    return Fail(Code::kInvalidArgument,
                fmt::format("volume {}: fluid_path is {}, but the mount of runtime {} is at {}",
                            request.volume_id, mount.source.mount_point, mount.source.key,
                            known->source.mount_point));
  }
  mount.reader_only = known->reader_only;
  return mount;
}

// --- Stage ---------------------------------------------------------------------------------------

Status NodePlane::Stage(const VolumeRequest& request, Deadline deadline) {
  const std::string context = "stage volume " + request.volume_id;
  const auto lease = parts_.locks.mounts.TryLock(request.source.key);
  if (!lease) return Busy(context);
  SLUICE_TRY(mount, RecordFor(request), context);
  const auto known = parts_.registry.Find(mount.source.key);
  parts_.registry.Enter(mount, [&](SharedMount& m) {
    m.volumes.insert(request.volume_id);
    m.source = mount.source;
    m.unlabel_pending = false;
  });
  Taken taken;
  Status staged = StageMount(mount, deadline, taken);
  if (staged) return Ok();
  taken.labelled = taken.labelled || (known && known->unlabel_pending);
  GiveBack(mount, taken);
  if (!known) parts_.registry.ForgetUnused(mount.source.key);
  return Fail(staged.error().Wrap(context));
}

Status NodePlane::StageMount(const SharedMount& mount, Deadline deadline, Taken& taken) {
  const bool sluice = mount.source.IsSluice();
  SLUICE_CHECK(
      sluice ? parts_.keeper.Ensure(mount, &taken.attached) : DetachIfDead(mount.source, deadline),
      "mount");
  if (mount.source.node_label.empty()) return Ok();
  Result<bool> labelled = parts_.cluster.SetNodeLabel(mount.source.node_label);
  // Without an answer the label may have been set.
  taken.labelled = labelled ? *labelled
                            : labelled.error().code == Code::kUnavailable ||
                                  labelled.error().code == Code::kDeadlineExceeded;
  if (!labelled) return Fail(labelled.error().Wrap("start the FUSE pod"));
  if (parts_.clock.Now() >= deadline) {
    return Fail(Code::kDeadlineExceeded, "the time allowed for the call is over");
  }
  return Ok();
}

void NodePlane::GiveBack(const SharedMount& mount, const Taken& taken) {
  const std::optional<SharedMount> record = parts_.registry.Find(mount.source.key);
  if (record && !record->targets.empty()) return;
  if (taken.labelled) {
    const Status done = parts_.cluster.RemoveNodeLabel(mount.source.node_label);
    if (!done) {
      parts_.log.Warn("node label not rolled back yet",
                      {{"label", mount.source.node_label}, {"error", done.error().message}});
    }
    parts_.registry.Change(mount.source.key,
                           [&](SharedMount& m) { m.unlabel_pending = !done && m.targets.empty(); });
  }
  if (taken.attached) {
    if (Status done = parts_.keeper.TearDown(mount); !done) {
      parts_.log.Warn("mount not rolled back",
                      {{"mount", mount.source.key}, {"error", done.error().message}});
    }
  }
}

// A FUSE pod that died leaves a mount on which its successor cannot mount.
Status NodePlane::DetachIfDead(const MountSource& source, Deadline deadline) {
  const auto limit = std::min(deadline, parts_.clock.Now() + options_.probe_timeout);
  Status probed =
      parts_.patient.Call(source.mount_point, limit,
                          [&mounter = parts_.mounter, path = source.mount_point]() -> Status {
                            SLUICE_TRY(state, mounter.Probe(path, ""), "probe");
                            if (state != Liveness::kDisconnected) return Ok();
                            return mounter.Detach(path);
                          });
  // A mount that does not answer now may answer later: Publish waits for it.
  if (!probed && probed.error().code != Code::kDeadlineExceeded &&
      probed.error().code != Code::kUnavailable) {
    return probed;
  }
  return Ok();
}

// --- Publish -------------------------------------------------------------------------------------

Status NodePlane::Publish(const VolumeRequest& request, const TargetPath& target,
                          Deadline deadline) {
  const std::string context = fmt::format("publish volume {}", request.volume_id);
  const auto lease = parts_.locks.targets.TryLock(target.path);
  if (!lease) return Busy(fmt::format("{} at {}", context, target.path));
  SLUICE_TRY(mount, RecordFor(request), context);
  // From here on the mount counts as used, so that nobody takes it away meanwhile.
  std::optional<PublishedTarget> before;
  parts_.registry.Enter(mount, [&](SharedMount& m) {
    m.volumes.insert(request.volume_id);
    m.unlabel_pending = false;
    if (const auto found = m.targets.find(target.path); found != m.targets.end()) {
      before = found->second;
    } else {
      m.targets[target.path] = {.volume_id = request.volume_id,
                                .sub_path = request.sub_path,
                                .method = request.method,
                                .read_only = request.read_only,
                                .complete = false};
    }
  });
  const Result<PublishMethod> published = PublishReserved(request, mount, target, deadline);
  parts_.registry.Change(mount.source.key, [&](SharedMount& m) {
    if (published) {
      m.targets[target.path] = {.volume_id = request.volume_id,
                                .sub_path = request.sub_path,
                                .method = *published,
                                .read_only = request.read_only,
                                .complete = true};
    } else if (!before) {
      m.targets.erase(target.path);
    }
  });
  if (!published) return Fail(published.error().Wrap(context));
  return Ok();
}

Result<PublishMethod> NodePlane::PublishReserved(const VolumeRequest& request,
                                                 const SharedMount& mount, const TargetPath& target,
                                                 Deadline deadline) {
  SLUICE_TRY(link, CheckTarget(request, target), "target");
  if (request.source.IsSluice()) {
    SLUICE_CHECK(PrepareSluice(mount, deadline), "mount " + request.source.mount_point);
  } else {
    SLUICE_CHECK(AwaitForeignMount(request, deadline), "mount " + request.source.mount_point);
  }
  if (link) return PublishMethod::kSymlink;
  SLUICE_CHECK(Show(request, target, deadline), "show it");
  return request.method;
}

Result<bool> NodePlane::CheckTarget(const VolumeRequest& request, const TargetPath& target) {
  SLUICE_TRY(info, parts_.mounter.Inspect(options_.paths.kubelet_root, target.path), target.path);
  switch (info.kind) {
    case PathInfo::Kind::kMissing:
    case PathInfo::Kind::kDirectory:
      return false;
    case PathInfo::Kind::kSymlink:
      // Also where a bind would be made today: an earlier plugin, or one with another default, has
      // published it so, and a running pod keeps what it has.
      if (info.link == SourcePath(request)) return true;
      return Fail(Code::kInvalidArgument,
                  fmt::format("target_path {} is a symlink to \"{}\"; it must be a directory or be "
                              "missing",
                              target.path, info.link));
    case PathInfo::Kind::kOther:
      return Fail(Code::kInvalidArgument,
                  fmt::format("target_path {} is not a directory", target.path));
  }
  return Fail(Code::kInternal, "unknown kind of path");
}

// Stage has done it all, normally. But the kubelet does not stage again when the label or the mount
// was taken away meanwhile.
Status NodePlane::PrepareSluice(const SharedMount& mount, Deadline deadline) {
  const Result<FuseClientState> state = parts_.broker.State(mount.source.key);
  {
    const auto lease = parts_.locks.mounts.LockUntil(mount.source.key, deadline, parts_.stop);
    if (!lease && parts_.stop.stop_requested()) return Fail(Stopping("wait for the mount"));
    if (!lease) return Busy("mount");
    bool attached = false;
    SLUICE_CHECK(parts_.keeper.Ensure(mount, &attached), "make it");
    const bool serving = !attached && state && state->ready;
    if (!serving && !mount.source.node_label.empty()) {
      SLUICE_TRY(labelled, parts_.cluster.SetNodeLabel(mount.source.node_label),
                 "start the FUSE pod");
      if (labelled) parts_.log.Info("node label restored", {{"label", mount.source.node_label}});
    }
  }
  return AwaitClient(mount, deadline);
}

Status NodePlane::AwaitClient(const SharedMount& mount, Deadline deadline) {
  const std::string& key = mount.source.key;
  const auto begin = parts_.clock.Now();
  for (;;) {
    const auto slice = std::min(deadline, parts_.clock.Now() + options_.poll_period);
    Status ready = parts_.broker.WaitReady(key, slice);
    if (ready) return Ok();
    if (parts_.stop.stop_requested()) return Fail(Stopping("wait for the FUSE client"));
    const auto waited = parts_.clock.Now() - begin;
    const Result<FuseClientState> state = parts_.broker.State(key);
    const bool connected = state && state->client_connected;
    const Code code = state ? state->last_error_code : Code::kUnavailable;
    // Of a client that is gone, only what it said itself is of interest, not that it went.
    const bool told = state && !state->last_error.empty() && (connected || NeedsSomebody(code));
    // A client that only takes its time (a long listing) may have all of it.
    const bool enough = told && code != Code::kDeadlineExceeded &&
                        waited >= (NeedsSomebody(code) ? options_.lasting_fault_patience
                                                       : options_.passing_fault_patience);
    if (!enough && parts_.clock.Now() < deadline) continue;
    if (told) {
      return Fail(code, fmt::format("the FUSE client of {} reports: {}",
                                    mount.source.runtime.ToString(), state->last_error));
    }
    return Fail(
        Code::kDeadlineExceeded,
        fmt::format("the FUSE client of {} {} within {} s: see pod {}-fuse-… in namespace {} on "
                    "node {}",
                    mount.source.runtime.ToString(),
                    connected ? "has not become ready" : "has not connected",
                    std::chrono::duration_cast<std::chrono::seconds>(waited).count(),
                    mount.source.runtime.name, mount.source.runtime.ns, options_.node_name));
  }
}

Result<std::string> NodePlane::ForeignMountFault(const VolumeRequest& request, Deadline deadline) {
  const std::string& path = request.source.mount_point;
  if (request.skip_check) {
    const Result<PathInfo> info = parts_.mounter.Inspect(options_.paths.mount_root, path);
    if (!info) return Fail(info.error());
    return std::string(info->kind == PathInfo::Kind::kDirectory ? "" : "the path does not exist");
  }
  SLUICE_TRY(table, parts_.mounter.Mounts(), path);
  const std::optional<MountPoint> mounted = TopMountAt(table, path);
  if (!mounted) return std::string("nothing is mounted there");
  if (!IsOfType(*mounted, request.source.mount_type)) {
    return fmt::format("a mount of type {} is there, not of {}", mounted->fs_type,
                       request.source.mount_type);
  }
  auto state = std::make_shared<std::atomic<Liveness>>(Liveness::kMissing);
  const auto limit = std::min(deadline, parts_.clock.Now() + options_.probe_timeout);
  Status probed = parts_.patient.Call(
      path, limit,
      [&mounter = parts_.mounter, path, sub_path = request.sub_path, state]() -> Status {
        SLUICE_TRY(found, mounter.Probe(path, sub_path), "probe");
        state->store(found);
        return Ok();
      });
  if (!probed) return probed.error().message;
  switch (state->load()) {
    case Liveness::kAnswers:
      return std::string();
    case Liveness::kMissing:
      return fmt::format("sub path \"{}\" does not exist in it", request.sub_path);
    case Liveness::kDisconnected:
      return std::string("its FUSE server is gone (transport endpoint is not connected)");
  }
  return Fail(Code::kInternal, "unknown liveness");
}

Status NodePlane::AwaitForeignMount(const VolumeRequest& request, Deadline deadline) {
  for (;;) {
    SLUICE_TRY(fault, ForeignMountFault(request, deadline), "wait for the FUSE pod");
    if (fault.empty()) return Ok();
    const auto next = parts_.clock.Now() + options_.poll_period;
    if (next >= deadline) {
      return Fail(Code::kDeadlineExceeded,
                  fmt::format("not ready: {}; see the FUSE pod of {} on node {}", fault,
                              request.source.key, options_.node_name));
    }
    if (!platform::Pause(parts_.stop, options_.poll_period)) {
      return Fail(Stopping("wait for the FUSE pod"));
    }
  }
}

Status NodePlane::Show(const VolumeRequest& request, const TargetPath& target, Deadline deadline) {
  const std::string& path = request.source.mount_point;
  if (request.method == PublishMethod::kSymlink) {
    const std::string parent = target.path.substr(0, target.path.rfind('/'));
    SLUICE_CHECK(parts_.mounter.MakeDirectories(options_.paths.kubelet_root, parent, 0750),
                 "target");
    return parts_.mounter.Link(SourcePath(request), options_.paths.kubelet_root, target.path);
  }
  SLUICE_TRY(table, parts_.mounter.Mounts(), "bind");
  const std::optional<MountPoint> source = TopMountAt(table, path);
  const std::optional<MountPoint> shown = TopMountAt(table, target.path);
  if (shown && source && ShowsSource(*shown, *source, request)) return Ok();
  // Of a dead or another mount: a bind on top would leave it below.
  if (shown) SLUICE_CHECK(parts_.mounter.Detach(target.path), "replace what is mounted at target");
  const BindSpec spec{.source = path,
                      .sub_path = request.sub_path,
                      .root = options_.paths.kubelet_root,
                      .target = target.path,
                      .read_only = request.read_only};
  return parts_.patient.Call(fmt::format("{} -> {}", path, target.path), deadline,
                             [&mounter = parts_.mounter, spec] { return mounter.Bind(spec); });
}

// --- Unpublish, Unstage --------------------------------------------------------------------------

Status NodePlane::HideTarget(const TargetPath& target) {
  const std::string& root = options_.paths.kubelet_root;
  SLUICE_TRY(info, parts_.mounter.Inspect(root, target.path), target.path);
  switch (info.kind) {
    case PathInfo::Kind::kMissing:
      return Ok();
    case PathInfo::Kind::kOther:
      return Fail(Code::kInvalidArgument,
                  fmt::format("target_path {} is neither a directory nor a symlink", target.path));
    case PathInfo::Kind::kDirectory:
      SLUICE_CHECK(parts_.mounter.Detach(target.path), "unmount");
      break;
    case PathInfo::Kind::kSymlink:
      break;
  }
  return parts_.mounter.Remove(root, target.path);
}

Status NodePlane::Unpublish(const std::string& volume_id, const TargetPath& target, Deadline) {
  const std::string context = "unpublish volume " + volume_id;
  const auto lease = parts_.locks.targets.TryLock(target.path);
  if (!lease) return Busy(fmt::format("{} at {}", context, target.path));
  SLUICE_CHECK(HideTarget(target), context);
  if (const auto mount = parts_.registry.FindByTarget(target.path)) {
    parts_.registry.Change(mount->source.key,
                           [&](SharedMount& m) { m.targets.erase(target.path); });
  }
  return Ok();
}

Status NodePlane::Unstage(const std::string& volume_id, Deadline deadline) {
  const std::string context = "unstage volume " + volume_id;
  std::optional<SharedMount> mount = parts_.registry.FindByVolume(volume_id);
  if (!mount) {
    // Staged by an earlier plugin, perhaps: the volume itself knows.
    SLUICE_TRY(source, parts_.cluster.FindSource(volume_id), context);
    if (!source) return Ok();
    mount.emplace();
    mount->source = std::move(*source);
    mount->volumes.insert(volume_id);
    SLUICE_TRY(label, parts_.cluster.DeriveNodeLabel(mount->source), context);
    mount->source.node_label = std::move(label);
  }
  const auto lease = parts_.locks.mounts.TryLock(mount->source.key);
  if (!lease || parts_.clock.Now() >= deadline) return Busy(context);
  SLUICE_CHECK(UnstageMount(parts_.registry.Find(mount->source.key).value_or(*mount), volume_id),
               context);
  return Ok();
}

Result<UnstageFacts> NodePlane::GatherUnstageFacts(const SharedMount& mount,
                                                   const std::string& volume_id) {
  UnstageFacts facts;
  SLUICE_TRY(runtime, parts_.cluster.FindRuntime(mount.source),
             "clean policy of runtime " + mount.source.runtime.ToString());
  facts.policy = runtime.policy;
  facts.runtime_exists = runtime.exists;
  facts.wanted_generation = runtime.wanted_generation;
  if (facts.policy == CleanPolicy::kOnFuseChanged) {
    facts.running_generation = parts_.running_generation(mount.source);
  }
  facts.used_by_volume = mount.UsedBy(volume_id);
  facts.used_by_others = mount.UsedByOthers(volume_id);
  SLUICE_TRY(table, parts_.mounter.Mounts(), "mount table");
  for (const MountPoint& found : table) {
    const Result<TargetPath> target = ParseTargetPath(found.path, options_.paths.kubelet_root);
    if (target && target->volume_name == volume_id) facts.used_by_volume = true;
  }
  return facts;
}

Status NodePlane::UnstageMount(const SharedMount& mount, const std::string& volume_id) {
  if (mount.unlabel_pending) return TakeAwayWithLabel(mount);
  SLUICE_TRY(facts, GatherUnstageFacts(mount, volume_id), "look for users");
  switch (DecideUnstage(facts)) {
    case UnstageAction::kKeep:
      return Ok();
    case UnstageAction::kRefuse:
      return Fail(Code::kUnavailable, "a pod on this node still uses it; try again");
    case UnstageAction::kDetach:
      return TakeAway(mount);
    case UnstageAction::kDetachAndUnlabel:
      return TakeAwayWithLabel(mount);
  }
  return Fail(Code::kInternal, "unknown action");
}

Status NodePlane::TakeAwayWithLabel(const SharedMount& mount) {
  // Decided, and said in the record: the runtime, the volume and this process may be gone when the
  // label can be taken at last.
  parts_.registry.Enter(mount, [](SharedMount& m) { m.unlabel_pending = m.targets.empty(); });
  // The last look at users comes first. Who begins to use our own mount after it waits for the lock
  // that is held here, finds the mount gone, makes it again and labels the node.
  SLUICE_CHECK(TakeAway(mount), "take it away");
  return parts_.keeper.Unlabel(mount);
}

Status NodePlane::TakeAway(const SharedMount& mount) {
  if (mount.source.IsSluice()) return parts_.keeper.TearDown(mount);
  if (parts_.registry.ForgetUnused(mount.source.key)) return Ok();
  return Fail(Code::kConflict, "a pod has begun to use it");
}

}  // namespace sluice::csi
