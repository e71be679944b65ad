#include "sluice/controller/controller.h"

#include <thread>
#include <vector>

#include "sluice/controller/dataset_reconciler.h"
#include "sluice/core/json_access.h"
#include "sluice/kube/event_recorder.h"
#include "sluice/kube/informer.h"

namespace sluice::controller {
namespace {

using std::chrono::steady_clock;

constexpr const char* kComponent = "sluice-controller";

// Only what tells who owns an object and how it fares; its content is not read from the snapshot.
void DropContent(Json& object) {
  kube::DropBookkeeping(object);
  for (const char* part : {"spec", "data", "binaryData", "template"}) object.erase(part);
}

std::vector<kube::InformedResource> Watched(const EngineProfile& profile) {
  std::vector<kube::InformedResource> watched = {
      {.type = resources::kDataset, .transform = DropContent},
      {.type = profile.runtime, .transform = DropContent},
      {.type = resources::kPersistentVolume, .filter = {.label_selector = kDatasetIdLabel}},
      {.type = resources::kPersistentVolumeClaim, .filter = {.label_selector = kDatasetIdLabel}},
  };
  for (const ResourceType& type :
       {resources::kConfigMap, resources::kDaemonSet, resources::kPodTemplate}) {
    watched.push_back({.type = type,
                       .filter = {.label_selector = "app=" + profile.app},
                       .transform = DropContent});
  }
  for (const ResourceType& type : OtherRuntimeTypes()) {
    watched.push_back({.type = type, .transform = DropContent, .optional = true});
  }
  return watched;
}

// The Dataset that an object belongs to.
ObjectKey DatasetOf(const kube::Change& change) {
  const Json& object = change.after ? *change.after : *change.before;
  if (change.type == resources::kPersistentVolume) {
    return {StringAt(object, "/spec/claimRef/namespace"), StringAt(object, "/spec/claimRef/name")};
  }
  if (change.type == resources::kConfigMap || change.type == resources::kDaemonSet ||
      change.type == resources::kPodTemplate) {
    return {change.key.ns, StringAt(object, "/metadata/labels/release")};
  }
  return change.key;
}

}  // namespace

struct Controller::Impl {
  ControllerOptions options;
  const Clock& clock;
  platform::Log log;
  platform::Metrics& metrics;
  WorkQueue queue;
  kube::EventRecorder events;
  kube::InformerSet informers;
  DatasetReconciler reconciler;

  Impl(Cluster& cluster, ControllerOptions given, const Clock& time, const platform::Log& out,
       platform::Metrics& registry)
      : options(std::move(given)),
        clock(time),
        log(out),
        metrics(registry),
        queue(time, options.queue),
        events(cluster, kComponent, time, out, registry),
        informers(cluster, Watched(NativeProfile()), {}, out, registry),
        reconciler(NativeProfile(), options.plan, options.timing,
                   {.cluster = cluster,
                    .known = informers,
                    .clock = time,
                    .emit =
                        [this](const PlannedEvent& event) {
                          events.Record(event.about,
                                        {.type = event.warning ? kube::EventType::kWarning
                                                               : kube::EventType::kNormal,
                                         .reason = event.reason,
                                         .message = event.message});
                        },
                    .log = out,
                    .metrics = registry}) {
    informers.OnChange([this](const kube::Change& change) {
      const ObjectKey key = DatasetOf(change);
      if (!key.name.empty() && !key.ns.empty()) queue.Add(key);
    });
  }

  void Work(const std::stop_token& stop);
  void Round(const ObjectKey& key);
};

void Controller::Impl::Round(const ObjectKey& key) {
  const auto begun = steady_clock::now();
  auto next = reconciler.Reconcile(key);
  metrics
      .AddHistogram("sluice_reconcile_seconds", "Time of one reconciliation",
                    platform::LatencyBuckets())
      .Observe(std::chrono::duration<double>(steady_clock::now() - begun).count());
  metrics
      .AddCounter("sluice_reconcile_total", "Reconciliations by result",
                  {{"result", next ? "ok" : std::string(CodeName(next.error().code))}})
      .Add();
  metrics.AddGauge("sluice_queue_depth", "Keys that wait").Set(static_cast<double>(queue.Depth()));
  if (!next) {
    log.Warn("reconcile failed",
             {{"namespace", key.ns}, {"name", key.name}, {"error", next.error().message}});
    queue.Retry(key);
  } else {
    queue.Forget(key);
    if (*next) queue.Add(key, **next);
  }
}

void Controller::Impl::Work(const std::stop_token& stop) {
  while (auto key = queue.Get(stop)) {
    Round(*key);
    queue.Done(*key);
  }
}

Controller::Controller(Cluster& cluster, ControllerOptions options, const Clock& clock,
                       platform::Log log, platform::Metrics& metrics)
    : impl_(std::make_unique<Impl>(cluster, std::move(options), clock, log, metrics)) {}

Controller::~Controller() = default;

void Controller::Start() { impl_->informers.Start(); }

std::string Controller::NotReadyReason() const { return impl_->informers.NotSyncedReason(); }

void Controller::Run(const std::stop_token& stop) {
  // Deciding on a snapshot that is not whole would miss rivals.
  while (!impl_->informers.WaitSynced(steady_clock::now() + std::chrono::seconds(1))) {
    if (stop.stop_requested()) return;
  }
  impl_->log.Info("reconciling", {{"workers", impl_->options.workers}});
  std::vector<std::jthread> workers;
  for (unsigned i = 0; i < impl_->options.workers; ++i) {
    workers.emplace_back([this, &stop] { impl_->Work(stop); });
  }
}

}  // namespace sluice::controller
