#include "sluice/core/injection.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/json_access.h"

#include "csi_plugins.h"
#include "dataset_use.h"
#include "file_prefetcher.h"
#include "fuse_sidecar.h"
#include "keys.h"
#include "pod_edit.h"
#include "pod_mode.h"
#include "pod_security.h"
#include "pod_shape.h"
#include "prefetch.h"

namespace sluice::injection {
namespace {

Outcome Untouched(std::string reason, std::string message = "") {
  Outcome outcome;
  outcome.message = std::move(message);
  outcome.reasons.push_back({std::move(reason), ""});
  return outcome;
}

Outcome Refused(Refusal refusal, std::string reason) {
  Outcome outcome;
  outcome.refusal = std::move(refusal);
  outcome.reasons.push_back({std::move(reason), ""});
  return outcome;
}

// What the namespace's labels say; empty where they say nothing.
class NamespaceLabels {
 public:
  static NamespaceLabels Read(const std::string& ns, const Lookup& lookup) {
    NamespaceLabels labels;
    if (auto object = lookup(resources::kNamespace, {"", ns})) labels.object_ = std::move(*object);
    return labels;
  }
  [[nodiscard]] std::string Of(std::string_view key) const { return StringOf(All(), key); }
  [[nodiscard]] const Json& All() const {
    static const Json kNone = Json::object();
    return object_ == nullptr ? kNone : ChildOf(ChildOf(*object_, "metadata"), "labels");
  }

 private:
  std::shared_ptr<const Json> object_;  // null: there is none
};

// One admission, after the gates.
class Injection {
 public:
  Injection(const Request& request, const Lookup& lookup, const Settings& settings,
            NamespaceLabels labels)
      : request_(request),
        lookup_(lookup),
        settings_(settings),
        labels_(std::move(labels)),
        ns_(request.ns),
        unique_(request.unix_micros, request.seed) {}

  Outcome Run() {
    const Mode labelled = LabelledMode(request_.pod, settings_);
    const bool automatic =
        labelled == Mode::kNone && labels_.Of(keys::kEnableInjection) == keys::kTrue;
    Reason reason;
    const Mode wanted = automatic ? AutomaticMode(reason) : labelled;
    collect_ = {.ns = ns_,
                .skip_precheck = AnnotationOf(request_.pod, keys::kSkipPrecheck) == keys::kTrue,
                .tolerate_missing_pvc = automatic,
                .for_placement = Places(wanted)};
    std::vector<std::string> missing;
    auto uses = CollectDatasets(request_.pod, lookup_, collect_, missing);
    if (!uses) return RefuseCollection(wanted, uses.error());
    for (const std::string& claim : missing) {
      outcome_.warnings.push_back(
          fmt::format("PersistentVolumeClaim {}/{} does not exist yet; if it is to be a dataset's, "
                      "create the pod again once the dataset is bound",
                      ns_, claim));
    }
    outcome_.look_again = !missing.empty() || (wanted == Mode::kNone && !uses->empty());
    if (wanted == Mode::kNone || (uses->empty() && automatic)) {
      outcome_.reasons.push_back({uses->empty() ? "no_dataset" : "not_asked", ""});
      return std::move(outcome_);
    }
    outcome_.mode = wanted;
    if (automatic) outcome_.reasons.push_back(std::move(reason));
    return RunPlugins(*uses, automatic);
  }

  // The pod has its sidecars; another webhook may have added containers or claims since.
  Outcome Complete() {
    collect_ = {.ns = ns_,
                .skip_precheck = AnnotationOf(request_.pod, keys::kSkipPrecheck) == keys::kTrue,
                .tolerate_missing_pvc = true};
    std::vector<std::string> missing;
    auto uses = CollectDatasets(request_.pod, lookup_, collect_, missing);
    if (!uses) return RefuseCollection(Mode::kSidecar, uses.error());
    for (const std::string& claim : missing) {
      outcome_.warnings.push_back(fmt::format(
          "pod {}/{} was given PersistentVolumeClaim {} after its injection, which does "
          "not exist yet; if it is to be a dataset's, create the pod again once the "
          "dataset is bound",
          ns_, NameInPaths(request_.pod), claim));
    }
    outcome_.look_again = !missing.empty();
    outcome_.mode = Mode::kSidecar;
    outcome_.pod = request_.pod;
    outcome_.reasons.push_back({"completed_injection", ""});
    auto status = WithSidecarRequest([&](const SidecarRequest& sidecar) {
      return CompleteFuseSidecars(sidecar, *uses, outcome_);
    });
    if (!status) return RefusePlugin(Plugin::kFuseSidecar, status.error());
    RecordDatasetsInUse(*uses, *outcome_.pod);
    if (*outcome_.pod == request_.pod) {
      Outcome outcome = UntouchedAsDone();
      outcome.warnings = std::move(outcome_.warnings);
      outcome.look_again = outcome_.look_again;
      return outcome;
    }
    KeepStep(PluginName(Plugin::kFuseSidecar));
    return std::move(outcome_);
  }

  static Outcome UntouchedAsDone() {
    return Untouched("injection_done", "skip mutating the pod because injection is done");
  }

 private:
  // The text is Fluid's; how to help oneself goes into a warning.
  Outcome RefuseCollection(Mode mode, const Error& error) {
    Outcome outcome =
        Refused({.code = 500, .reason = "", .message = error.message, .retry_live = true},
                "dataset_not_usable");
    outcome.mode = mode;
    outcome.warnings.push_back(fmt::format(
        "pod {}/{} was refused because of a PersistentVolumeClaim in spec.volumes; see "
        "\"kubectl -n {} get pvc,datasets.data.fluid.io\", or label the pod {}=false to run it "
        "without injection",
        ns_, NameInPaths(request_.pod), ns_, keys::kEnableInjection));
    return outcome;
  }

  // The mode of a pod that leaves it to us, and why.
  Mode AutomaticMode(Reason& reason) const {
    const std::string bound_by =
        BoundForServerlessNode(request_.pod, labels_.All(), settings_.serverless_nodes);
    if (!bound_by.empty()) {
      reason = {"automatic_serverless_node", bound_by};
      return Mode::kSidecar;
    }
    if (settings_.automatic_sidecar) {
      reason = {"automatic_cluster_setting", ""};
      return Mode::kSidecar;
    }
    reason = {"automatic_ordinary_node", ""};
    return Mode::kCsi;
  }

  const PluginLists& ListsOf(Mode mode) const {
    return mode == Mode::kSidecar ? settings_.serverless : settings_.serverful;
  }

  // Whether pods of the mode are placed by where their datasets are.
  bool Places(Mode mode) const {
    const std::vector<Plugin>& plugins = ListsOf(mode).with_dataset;
    return mode != Mode::kNone && std::any_of(plugins.begin(), plugins.end(), [](Plugin plugin) {
             return plugin == Plugin::kRequireNodeWithFuse ||
                    plugin == Plugin::kNodeAffinityWithCache;
           });
  }

  Outcome RunPlugins(const DatasetUses& uses, bool automatic) {
    const Mode mode = outcome_.mode;
    const PluginLists& lists = ListsOf(mode);
    outcome_.pod = request_.pod;
    for (const Plugin plugin : uses.empty() ? lists.without_dataset : lists.with_dataset) {
      auto status = RunPlugin(plugin, uses);
      if (!status) return RefusePlugin(plugin, status.error());
      KeepStep(PluginName(plugin));
      // It has chosen the node of a pod without datasets; nothing is left to do.
      if (plugin == Plugin::kPreferNodesWithoutCache && uses.empty()) break;
    }
    if (uses.empty()) outcome_.reasons.push_back({"no_dataset", ""});
    if (mode == Mode::kSidecar && *outcome_.pod != request_.pod) {
      WarnOfPodSecurity(*outcome_.pod, ns_, labels_.Of(keys::kPodSecurityEnforce),
                        outcome_.warnings);
    }
    // Whoever looks at the pod later must see its mode.
    if (automatic && mode == Mode::kSidecar &&
        LabelOf(*outcome_.pod, keys::kInjectDone) == keys::kTrue) {
      SetLabel(*outcome_.pod, keys::kServerlessInject, keys::kTrue);
      KeepStep("AutomaticMode");
    }
    if (*outcome_.pod == request_.pod) outcome_.pod.reset();
    return std::move(outcome_);
  }

  void KeepStep(std::string_view rule) {
    if (!request_.keep_steps) return;
    const Json& before = outcome_.steps.empty() ? request_.pod : outcome_.steps.back().pod;
    if (*outcome_.pod != before) outcome_.steps.push_back({std::string(rule), *outcome_.pod});
  }

  Outcome RefusePlugin(Plugin plugin, const Error& error) {
    Outcome outcome = Refused(
        {.code = 500,
         .reason = "",
         .message = fmt::format("pod {}/{} cannot be injected by {}: {}", ns_,
                                NameInPaths(request_.pod), PluginName(plugin), error.message),
         .retry_live = true},
        fmt::format("{}_failed", PluginName(plugin)));
    outcome.mode = outcome_.mode;
    return outcome;
  }

  Status RunPlugin(Plugin plugin, const DatasetUses& uses) {
    Json& pod = *outcome_.pod;
    switch (plugin) {
      case Plugin::kFilePrefetcher:
        return RunFilePrefetcher(uses);
      case Plugin::kFuseSidecar:
        return RunFuseSidecar(uses);
      case Plugin::kRequireNodeWithFuse:
        RequireNodeWithFuse(uses, pod);
        break;
      case Plugin::kNodeAffinityWithCache:
        NodeAffinityWithCache(uses, settings_.locality, request_.pod, pod);
        break;
      case Plugin::kMountPropagationInjector:
        InjectMountPropagation(uses, pod);
        break;
      case Plugin::kDatasetUsageInjector:
        RecordDatasetsInUse(uses, pod);
        break;
      case Plugin::kPreferNodesWithoutCache:
        PreferNodesWithoutCache(uses, pod);
        break;
    }
    outcome_.reasons.push_back({std::string(PluginName(plugin)), ""});
    return Ok();
  }

  // Each of the two kinds of annotations alone says all.
  Status RunFilePrefetcher(const DatasetUses& uses) {
    if (!WantsPrefetch(request_.pod)) {
      return InjectFilePrefetcher(uses, settings_, unique_, outcome_);
    }
    if (AnnotationOf(request_.pod, keys::kPrefetch) == keys::kTrue) {
      outcome_.warnings.push_back(fmt::format("annotation {} is left out: {} asks for the same",
                                              keys::kPrefetch, keys::kSluicePrefetch));
    }
    return InjectPrefetch({request_.pod, uses, settings_, unique_}, outcome_);
  }

  Status RunFuseSidecar(const DatasetUses& uses) {
    return WithSidecarRequest(
        [&](const SidecarRequest& sidecar) { return InjectFuseSidecars(sidecar, uses, outcome_); });
  }

  template <typename Work>
  Status WithSidecarRequest(Work work) {
    auto platform = PlatformOf(request_.pod, settings_);
    if (!platform) return Fail(platform.error());
    return work(SidecarRequest{.lookup = lookup_,
                               .collect = collect_,
                               .placement = settings_.placement,
                               .platform = *platform,
                               .unique = unique_});
  }

  const Request& request_;
  const Lookup& lookup_;
  const Settings& settings_;
  NamespaceLabels labels_;  // of the namespace
  std::string ns_;
  UniqueNames unique_;
  CollectOptions collect_;
  Outcome outcome_;
};

}  // namespace

std::string ToText(const std::vector<Reason>& reasons) {
  std::string text;
  for (const Reason& reason : reasons) {
    if (!text.empty()) text += ", ";
    text += reason.name;
    if (!reason.detail.empty()) text += " " + reason.detail;
  }
  return text;
}

Outcome PassOver(const Request& request, Mode mode, Refusal error, std::string reason) {
  Outcome outcome = Untouched(std::move(reason));
  outcome.mode = mode;
  outcome.warnings.push_back(fmt::format(
      "pod {}/{} is admitted without what could not be injected: {}; see \"kubectl -n {} get "
      "pvc,datasets.data.fluid.io\", and create the pod again when that is remedied",
      request.ns, NameInPaths(request.pod), error.message, request.ns));
  outcome.look_again = error.retry_live;
  outcome.errors_pass = true;
  outcome.passed_over = std::move(error);
  return outcome;
}

Outcome Inject(const Request& request, const Lookup& lookup, const Settings& settings) {
  if (settings.disabled) {
    return Untouched("injection_disabled_globally",
                     "skip mutating the pod because global injection is disabled");
  }
  if (auto shape = CheckPodShape(request.pod); !shape) {
    return Refused({.code = 400, .reason = "", .message = shape.error().message}, "not_a_pod");
  }
  const std::string own = StringOf(ChildOf(request.pod, "metadata"), "namespace");
  if (!own.empty() && own != request.ns) {
    return Refused({.code = 403,
                    .reason = "Forbidden",
                    .message = "found invalid pod.metadata.namespace, it must either be empty or "
                               "equal to request's namespace"},
                   "foreign_namespace");
  }
  if (request.ns.empty()) {
    return Refused({.code = 500,
                    .reason = "",
                    .message = "unexpected error: both pod.metadata.namespace and request's "
                               "namespace is empty"},
                   "no_namespace");
  }
  const auto disabled = [] {
    return Untouched("injection_disabled", "skip mutating the pod because injection is disabled");
  };
  if (LabelOf(request.pod, keys::kEnableInjection) == "false") return disabled();
  const bool done = LabelOf(request.pod, keys::kInjectDone) == keys::kTrue;
  // Who sets the label by hand wants no injection at all.
  if (done && !HasFuseSidecar(request.pod, request.ns)) return Injection::UntouchedAsDone();
  // A pod without claims that asks for nothing is the same to every namespace.
  const bool concerns_us =
      LabelledMode(request.pod, settings) != Mode::kNone || !ClaimsOf(request.pod).empty();
  NamespaceLabels labels;
  if (concerns_us) labels = NamespaceLabels::Read(request.ns, lookup);
  if (labels.Of(keys::kEnableInjection) == "false") return disabled();
  Injection injection(request, lookup, settings, std::move(labels));
  Outcome outcome = done ? injection.Complete() : injection.Run();
  // A pod that has its sidecars can run, whatever later webhooks added.
  outcome.errors_pass = done || settings.failure_policy == FailurePolicy::kIgnore;
  if (!outcome.refusal || !outcome.errors_pass) return outcome;
  return PassOver(request, outcome.mode, std::move(*outcome.refusal), outcome.reasons.front().name);
}

}  // namespace sluice::injection
