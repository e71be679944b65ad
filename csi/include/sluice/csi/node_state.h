// What the plugin knows about the mounts of its node, and what to do next about one of them. Pure:
// node_plane.h acts.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "sluice/csi/volume_request.h"

namespace sluice::csi {

// A directory of a pod that shows a mount.
struct PublishedTarget {
  std::string volume_id;
  std::string sub_path;
  PublishMethod method = PublishMethod::kBind;
  bool read_only = false;
  bool complete = false;  // false while a publish call is still waiting: counts as in use

  bool operator==(const PublishedTarget&) const = default;
};

// One dataset on this node.
struct SharedMount {
  MountSource source;
  bool reader_only = true;
  std::set<std::string> volumes;                   // handles that were staged or published
  std::map<std::string, PublishedTarget> targets;  // by target path
  // The node label is still to be taken away, for nobody wants the mount: decided when the runtime
  // was there to be asked, and kept here because runtime and volume may go before it is done.
  bool unlabel_pending = false;

  [[nodiscard]] bool UsedBy(const std::string& volume_id) const;
  [[nodiscard]] bool UsedByOthers(const std::string& volume_id) const;
  bool operator==(const SharedMount&) const = default;
};

// Written to the state directory, one file per mount; metadata only. Targets whose publish call had
// not ended are left out: the kubelet repeats the call.
Json RenderSharedMount(const SharedMount& mount);
Result<SharedMount> ParseSharedMount(const Json& json);

// What is to be seen of one of our own mounts.
struct MountFacts {
  bool in_use = false;      // has targets
  bool mounted = false;     // the mount table shows it
  bool offered = false;     // the broker listens for its client
  bool has_device = false;  // the broker holds the descriptor
  bool client_connected = false;
  bool ready = false;            // the client serves
  bool stale_targets = false;    // some targets show an earlier, dead mount
  bool unlabel_pending = false;  // see SharedMount
  // How long the broker has been waiting for a client to bring the descriptor back.
  std::chrono::milliseconds without_device{0};
  // From the cluster; empty: not asked or not answered, so nothing is concluded.
  std::optional<bool> labelled;
  std::optional<bool> volume_exists;
};

struct MountLimits {
  // A running client deposits its descriptor within this time after the plugin's start; after it
  // the connection counts as lost.
  std::chrono::milliseconds recover_timeout{60'000};
};

enum class MountStep {
  kNone,
  kAttach,    // mount, offer the descriptor
  kAdopt,     // mounted already: wait for a client that has the descriptor
  kReattach,  // end the dead connection, mount anew
  kRebind,    // let the targets show the new mount
  kRemove,    // nobody wants it any more: unmount, forget
  kUnlabel,   // it has gone: take the node label that is still pending, forget
};

MountStep NextStep(const MountFacts& facts, const MountLimits& limits);

}  // namespace sluice::csi
