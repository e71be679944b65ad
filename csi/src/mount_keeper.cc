#include "sluice/csi/mount_keeper.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/names.h"
#include "sluice/csi/target_path.h"

namespace sluice::csi {
namespace {

constexpr unsigned kMountDirectoryMode = 0755;
constexpr unsigned kBrokerDirectoryMode = 0711;

Status MakeRoot(const std::string& path, unsigned mode) {
  std::error_code error;
  if (std::filesystem::create_directories(path, error)) {
    std::filesystem::permissions(path, static_cast<std::filesystem::perms>(mode), error);
  }
  if (error) return Fail(Code::kInternal, fmt::format("create {}: {}", path, error.message()));
  return Ok();
}

std::string SubPathOf(const MountPoint& mount) {
  return mount.root.starts_with('/') ? mount.root.substr(1) : mount.root;
}

}  // namespace

std::optional<MountPoint> TopMountAt(const std::vector<MountPoint>& table,
                                     const std::string& path) {
  for (auto mount = table.rbegin(); mount != table.rend(); ++mount) {
    if (mount->path == path) return *mount;
  }
  return std::nullopt;
}

MountKeeper::MountKeeper(MountKeeperOptions options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      mounts_gauge_(parts_.metrics.AddGauge("sluice_csi_mounts", "Dataset mounts on this node")),
      targets_gauge_(parts_.metrics.AddGauge("sluice_csi_targets",
                                             "Pod directories that show a dataset mount")) {}

std::string MountKeeper::BrokerDirectory(const std::string& key) const {
  return options_.paths.broker_root + "/" + names::BrokerDirectory(key);
}

FuseAttachment MountKeeper::AttachmentOf(const SharedMount& mount) const {
  return {.id = mount.source.key,
          .directory = BrokerDirectory(mount.source.key),
          .mount_point = mount.source.mount_point,
          .read_only = mount.reader_only};
}

Status MountKeeper::Ensure(const SharedMount& mount, bool* attached) {
  SLUICE_TRY(observed, Observe(mount), "mount " + mount.source.mount_point);
  const MountFacts& facts = observed.facts;
  if (facts.mounted && facts.offered) return Ok();
  if (facts.mounted) return Adopt(mount);
  if (facts.offered) {
    SLUICE_CHECK(parts_.broker.Release(mount.source.key), "mount " + mount.source.mount_point);
  }
  SLUICE_CHECK(Attach(mount), "mount " + mount.source.mount_point);
  *attached = true;
  return Ok();
}

Status MountKeeper::Attach(const SharedMount& mount) {
  const FuseAttachment attachment = AttachmentOf(mount);
  SLUICE_CHECK(parts_.mounter.MakeDirectories(options_.paths.mount_root, attachment.mount_point,
                                              kMountDirectoryMode),
               "mount point");
  SLUICE_CHECK(parts_.mounter.MakeDirectories(options_.paths.broker_root, attachment.directory,
                                              kBrokerDirectoryMode),
               "broker directory");
  retired_.With([&](Times& retired) { retired.erase(attachment.directory); });
  SLUICE_CHECK(parts_.broker.Attach(attachment), "attach");
  adopted_.With([&](Times& adopted) { adopted.erase(attachment.id); });
  parts_.log.Info("mounted", {{"mount", attachment.id}, {"path", attachment.mount_point}});
  return Ok();
}

Status MountKeeper::Adopt(const SharedMount& mount) {
  const FuseAttachment attachment = AttachmentOf(mount);
  SLUICE_CHECK(parts_.mounter.MakeDirectories(options_.paths.broker_root, attachment.directory,
                                              kBrokerDirectoryMode),
               "broker directory");
  retired_.With([&](Times& retired) { retired.erase(attachment.directory); });
  SLUICE_CHECK(parts_.broker.Adopt(attachment), "adopt");
  adopted_.With([&](Times& adopted) { adopted[attachment.id] = parts_.clock.Now(); });
  parts_.log.Info("mount adopted", {{"mount", attachment.id}, {"path", attachment.mount_point}});
  return Ok();
}

// The connection is lost: whoever waits in it must fail, then a new one takes its place.
Status MountKeeper::Reattach(const SharedMount& mount) {
  const std::string& path = mount.source.mount_point;
  SLUICE_TRY(table, parts_.mounter.Mounts(), "re-mount " + path);
  for (const MountPoint& old : table) {
    if (old.path != path || old.fs_type != mount.source.mount_type) continue;
    if (Status aborted = parts_.mounter.Abort(old); !aborted) {
      parts_.log.Warn("connection not aborted",
                      {{"path", path}, {"error", aborted.error().message}});
    }
  }
  SLUICE_CHECK(parts_.mounter.Detach(path), "re-mount " + path);
  SLUICE_CHECK(parts_.broker.Release(mount.source.key), "re-mount " + path);
  return Attach(mount);
}

Status MountKeeper::RebindTarget(const SharedMount& mount, const std::string& path,
                                 const PublishedTarget& target) {
  const auto lease = parts_.locks.targets.TryLock(path);
  if (!lease) return Ok();  // a call of the kubelet is at it; the next pass looks again
  const std::optional<SharedMount> current = parts_.registry.Find(mount.source.key);
  if (!current || !current->targets.contains(path)) return Ok();  // unpublished meanwhile
  SLUICE_CHECK(parts_.mounter.Detach(path), "re-bind " + path);
  const BindSpec spec{.source = mount.source.mount_point,
                      .sub_path = target.sub_path,
                      .root = options_.paths.kubelet_root,
                      .target = path,
                      .read_only = target.read_only};
  return parts_.patient.Call(mount.source.mount_point, parts_.clock.Now() + options_.bind_timeout,
                             [&mounter = parts_.mounter, spec] { return mounter.Bind(spec); });
}

Status MountKeeper::Rebind(const SharedMount& mount) {
  SLUICE_TRY(table, parts_.mounter.Mounts(), "re-bind");
  const std::optional<MountPoint> source = TopMountAt(table, mount.source.mount_point);
  if (!source) return Fail(Code::kUnavailable, "re-bind: " + mount.source.mount_point + " is gone");
  Status result = Ok();
  for (const auto& [path, target] : mount.targets) {
    if (!target.complete || target.method != PublishMethod::kBind) continue;
    const std::optional<MountPoint> shown = TopMountAt(table, path);
    if (shown && shown->SameFileSystem(*source)) continue;
    Status bound = RebindTarget(mount, path, target);
    if (!bound) result = std::move(bound);
  }
  parts_.notify(
      {.source = mount.source,
       .warning = !result,
       .reason = result ? "FuseRecoverSucceed" : "FuseRecoverFailed",
       .message = result ? "mounts of this node show the dataset again" : result.error().message});
  return result;
}

Status MountKeeper::TearDown(const SharedMount& mount) {
  const std::string& key = mount.source.key;
  const std::string context = "unmount " + mount.source.mount_point;
  // Publish enters its target before it waits for the lock that our caller holds: a target that is
  // not there now belongs to a call that will find the mount gone and make it again.
  if (const auto now = parts_.registry.Find(key); now && !now->targets.empty()) {
    return Fail(Code::kConflict, context + ": a pod has begun to use it");
  }
  SLUICE_CHECK(parts_.mounter.Detach(mount.source.mount_point), context);
  SLUICE_CHECK(parts_.broker.Release(key), context);
  // The directories were made for this mount; others may live in them.
  std::string path = mount.source.mount_point;
  while (IsBelow(path, options_.paths.mount_root) &&
         parts_.mounter.Remove(options_.paths.mount_root, path)) {
    path.resize(path.rfind('/'));
  }
  parts_.registry.ForgetUnused(key);
  adopted_.With([&](Times& adopted) { adopted.erase(key); });
  retired_.With([&](Times& retired) { retired[BrokerDirectory(key)] = parts_.clock.Now(); });
  parts_.log.Info("unmounted", {{"mount", key}, {"path", mount.source.mount_point}});
  return Ok();
}

Status MountKeeper::Unlabel(const SharedMount& mount) {
  const std::string& key = mount.source.key;
  const std::string& label = mount.source.node_label;
  const auto wanted_again = [] { return Fail(Code::kConflict, "a pod has begun to use it"); };
  if (const auto now = parts_.registry.Find(key); !now || !now->unlabel_pending) {
    return wanted_again();
  }
  if (!label.empty()) SLUICE_CHECK(parts_.cluster.RemoveNodeLabel(label), "stop the FUSE pod");
  parts_.registry.Change(key, [](SharedMount& m) { m.unlabel_pending = false; });
  if (parts_.registry.ForgetUnused(key)) return Ok();
  // Who uses the mount of another engine waits for no lock, and labels no node.
  SLUICE_TRY(labelled, parts_.cluster.SetNodeLabel(label), "keep the FUSE pod");
  if (labelled) parts_.log.Info("node label restored", {{"label", label}});
  return wanted_again();
}

Result<MountKeeper::Observed> MountKeeper::Observe(const SharedMount& mount) {
  SLUICE_TRY(table, parts_.mounter.Mounts(), "observe");
  Observed observed;
  MountFacts& facts = observed.facts;
  observed.mounted = TopMountAt(table, mount.source.mount_point);
  facts.mounted = observed.mounted && observed.mounted->fs_type == mount.source.mount_type;
  facts.in_use = !mount.targets.empty();
  for (const auto& [path, target] : mount.targets) {
    if (!target.complete || target.method != PublishMethod::kBind || !facts.mounted) continue;
    const std::optional<MountPoint> shown = TopMountAt(table, path);
    if (!shown || !shown->SameFileSystem(*observed.mounted)) facts.stale_targets = true;
  }
  const Result<FuseClientState> state = parts_.broker.State(mount.source.key);
  if (!state && state.error().code != Code::kNotFound) return Fail(state.error());
  if (!state) return observed;
  facts.offered = true;
  facts.has_device = state->has_device;
  facts.client_connected = state->client_connected;
  facts.ready = state->ready;
  if (!facts.has_device) {
    facts.without_device = adopted_.With([&](Times& adopted) {
      const auto now = parts_.clock.Now();
      const auto since = adopted.try_emplace(mount.source.key, now).first->second;
      return std::chrono::duration_cast<std::chrono::milliseconds>(now - since);
    });
  }
  return observed;
}

void MountKeeper::AskCluster(const SharedMount& mount, MountFacts& facts) {
  if (!mount.source.node_label.empty()) {
    if (const auto labelled = parts_.cluster.HasNodeLabel(mount.source.node_label)) {
      facts.labelled = *labelled;
    }
  }
  if (mount.volumes.empty()) return;
  bool any = false;
  for (const std::string& volume : mount.volumes) {
    const auto exists = parts_.cluster.VolumeExists(volume);
    if (!exists) return;  // not known: nothing is concluded
    any = any || *exists;
  }
  facts.volume_exists = any;
}

Status MountKeeper::Act(MountStep step, const SharedMount& mount) {
  switch (step) {
    case MountStep::kNone:
      return Ok();
    case MountStep::kAttach:
      return Attach(mount);
    case MountStep::kAdopt:
      return Adopt(mount);
    case MountStep::kReattach:
      return Reattach(mount);
    case MountStep::kRebind:
      return Rebind(mount);
    case MountStep::kRemove:
      return TearDown(mount);
    case MountStep::kUnlabel:
      return Unlabel(mount);
  }
  return Fail(Code::kInternal, "unknown step");
}

// A pod directory that is gone needs no mount, even if nobody told us.
void MountKeeper::DropVanishedTargets(const SharedMount& mount) {
  for (const auto& [path, target] : mount.targets) {
    if (!target.complete) continue;
    const auto vanished = [&, &path = path] {
      const Result<PathInfo> info = parts_.mounter.Inspect(options_.paths.kubelet_root, path);
      return info && info->kind == PathInfo::Kind::kMissing;
    };
    if (!vanished()) continue;
    const auto lease = parts_.locks.targets.TryLock(path);
    if (!lease || !vanished()) continue;
    parts_.registry.Change(mount.source.key, [&path = path](SharedMount& m) {
      const auto found = m.targets.find(path);
      if (found != m.targets.end() && found->second.complete) m.targets.erase(found);
    });
  }
}

void MountKeeper::SweepOne(const std::string& key, bool ask_cluster) {
  const auto lease = parts_.locks.mounts.TryLock(key);
  if (!lease) return;
  std::optional<SharedMount> mount = parts_.registry.Find(key);
  if (!mount) return;
  if (ask_cluster) {
    DropVanishedTargets(*mount);
    mount = parts_.registry.Find(key);
  }
  MountFacts facts;
  if (mount->source.IsSluice()) {
    Result<Observed> observed = Observe(*mount);
    if (!observed) {
      parts_.log.Warn("mount not observed", {{"mount", key}, {"error", observed.error().message}});
      return;
    }
    facts = observed->facts;
  } else {
    // The mount is its own FUSE pod's; only our record can become superfluous, or a label be left.
    facts.in_use = !mount->targets.empty();
    facts.mounted = facts.offered = facts.has_device = !mount->unlabel_pending;
  }
  facts.unlabel_pending = mount->unlabel_pending;
  if (ask_cluster && !facts.in_use) AskCluster(*mount, facts);
  const MountStep step = NextStep(facts, options_.limits);
  if (step == MountStep::kUnlabel && !ask_cluster) return;
  if (step == MountStep::kRemove && !mount->source.IsSluice()) {
    parts_.registry.ForgetUnused(key);
    return;
  }
  // A conflict is a pod that came while the cluster was asked: the mount is wanted after all.
  if (Status done = Act(step, *mount); !done && done.error().code != Code::kConflict) {
    parts_.log.Warn("mount not repaired", {{"mount", key}, {"error", done.error().message}});
  }
}

void MountKeeper::Sweep(bool ask_cluster) {
  for (const SharedMount& mount : parts_.registry.All()) {
    if (parts_.stop.stop_requested()) return;
    SweepOne(mount.source.key, ask_cluster);
  }
  DiscardRetired();
  SetGauges();
}

void MountKeeper::DiscardRetired() {
  const auto now = parts_.clock.Now();
  std::vector<std::string> due;
  retired_.With([&](Times& retired) {
    for (const auto& [directory, since] : retired) {
      if (now - since >= options_.directory_grace) due.push_back(directory);
    }
    for (const std::string& directory : due) retired.erase(directory);
  });
  for (const std::string& directory : due) {
    if (Status done = parts_.broker.Discard(directory); !done) {
      parts_.log.Warn("directory not removed", {{"error", done.error().message}});
    }
  }
}

void MountKeeper::SetGauges() {
  std::size_t mounts = 0;
  std::size_t targets = 0;
  for (const SharedMount& mount : parts_.registry.All()) {
    ++mounts;
    targets += mount.targets.size();
  }
  mounts_gauge_.Set(static_cast<double>(mounts));
  targets_gauge_.Set(static_cast<double>(targets));
}

// --- start -------------------------------------------------------------------------------------

Status MountKeeper::Recover() {
  SLUICE_CHECK(MakeRoot(options_.paths.mount_root, kMountDirectoryMode), "mount root");
  SLUICE_CHECK(MakeRoot(options_.paths.broker_root, kBrokerDirectoryMode), "broker root");
  SLUICE_CHECK(parts_.registry.Load(), "recover");
  SLUICE_TRY(table, parts_.mounter.Mounts(), "recover");
  AddUnknownMounts(table);
  for (const SharedMount& mount : parts_.registry.All()) AddUnknownTargets(table, mount);
  Sweep(/*ask_cluster=*/false);
  return Ok();
}

// Mounts of ours that no state file knows: <mount root>/sluice/<namespace>/<name>/sluice-fuse.
void MountKeeper::AddUnknownMounts(const std::vector<MountPoint>& table) {
  for (const MountPoint& found : table) {
    if (found.fs_type != names::kSluiceMountType) continue;
    const std::filesystem::path path(found.path);
    const std::string name = path.parent_path().filename();
    const std::string ns = path.parent_path().parent_path().filename();
    if (found.path != names::SluiceMountPath(options_.paths.mount_root, ns, name)) continue;
    SharedMount mount;
    mount.source = {.key = names::PersistentVolumeName(ns, name),
                    .mount_point = found.path,
                    .mount_type = found.fs_type,
                    .runtime = {ns, name},
                    .node_label = ""};
    mount.reader_only = found.read_only;
    if (const auto label = parts_.cluster.DeriveNodeLabel(mount.source)) {
      mount.source.node_label = *label;
    }
    mount.volumes.insert(mount.source.key);
    parts_.registry.Enter(mount, [](SharedMount&) {});
  }
}

// Bind mounts in pods that show this mount, whoever made them.
void MountKeeper::AddUnknownTargets(const std::vector<MountPoint>& table,
                                    const SharedMount& mount) {
  const std::optional<MountPoint> source = TopMountAt(table, mount.source.mount_point);
  if (!source || source->fs_type != mount.source.mount_type) return;
  for (const MountPoint& found : table) {
    if (!found.SameFileSystem(*source)) continue;
    const Result<TargetPath> target = ParseTargetPath(found.path, options_.paths.kubelet_root);
    if (!target || mount.targets.contains(target->path) || target->volume_name.empty()) continue;
    parts_.registry.Change(mount.source.key, [&](SharedMount& m) {
      m.targets[target->path] = {.volume_id = target->volume_name,
                                 .sub_path = SubPathOf(found),
                                 .method = PublishMethod::kBind,
                                 .read_only = found.read_only,
                                 .complete = true};
    });
  }
}

}  // namespace sluice::csi
