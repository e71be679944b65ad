#include "sluice/controller/controller.h"

#include <algorithm>
#include <vector>

#include "sluice/controller/dataset_reconciler.h"
#include "sluice/core/json_access.h"
#include "sluice/kube/event_recorder.h"
#include "sluice/kube/informer.h"
#include "sluice/platform/random_text.h"

#include "reconcile_loop.h"
#include "record_event.h"

namespace sluice::controller {
namespace {

constexpr const char* kComponent = "sluice-controller";
constexpr std::size_t kSecretBytes = 32;

// Only what tells who owns an object and how it fares; its content is not read from the snapshot.
void DropContent(Json& object) {
  kube::DropBookkeeping(object);
  for (const char* part : {"spec", "data", "binaryData", "template"}) object.erase(part);
}

const std::vector<ResourceType>& PartsOfRuntime() {
  static const std::vector<ResourceType> kParts = {
      resources::kConfigMap,   resources::kDaemonSet, resources::kPodTemplate,
      resources::kStatefulSet, resources::kService,   resources::kEndpointSlice};
  return kParts;
}

std::vector<kube::InformedResource> Watched(const EngineProfile& profile) {
  std::vector<kube::InformedResource> watched = {
      {.type = resources::kDataset, .transform = DropContent},
      {.type = profile.runtime, .transform = DropContent},
      {.type = resources::kPersistentVolume, .filter = {.label_selector = kDatasetIdLabel}},
      {.type = resources::kPersistentVolumeClaim, .filter = {.label_selector = kDatasetIdLabel}},
  };
  for (const ResourceType& type : PartsOfRuntime()) {
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
  if (std::ranges::find(PartsOfRuntime(), change.type) != PartsOfRuntime().end()) {
    // The cluster gives EndpointSlices the labels of their Service.
    return {change.key.ns, StringAt(object, "/metadata/labels/release")};
  }
  return change.key;
}

}  // namespace

struct Controller::Impl {
  ControllerOptions options;
  ReconcileLoop loop;  // before the informers, whose threads add to it
  kube::EventRecorder events;
  kube::InformerSet informers;
  DatasetReconciler reconciler;

  Impl(Cluster& cluster, ControllerOptions given, const Clock& time, const platform::Log& out,
       platform::Metrics& registry)
      : options(std::move(given)),
        loop(
            time, options.queue, [this](const ObjectKey& key) { return reconciler.Reconcile(key); },
            out, registry),
        events(cluster, kComponent, time, out, registry),
        informers(cluster, Watched(NativeProfile()), {}, out, registry),
        reconciler(NativeProfile(), options.plan, options.timing,
                   {.cluster = cluster,
                    .known = informers,
                    .clock = time,
                    .emit = [this](const PlannedEvent& event) { RecordEvent(event, events); },
                    .make_secret = [] { return platform::RandomText(kSecretBytes); },
                    .log = out,
                    .metrics = registry}) {
    informers.OnChange([this](const kube::Change& change) {
      const ObjectKey key = DatasetOf(change);
      if (!key.name.empty() && !key.ns.empty()) loop.Add(key);
    });
  }
};

Controller::Controller(Cluster& cluster, ControllerOptions options, const Clock& clock,
                       platform::Log log, platform::Metrics& metrics)
    : impl_(std::make_unique<Impl>(cluster, std::move(options), clock, log, metrics)) {}

Controller::~Controller() = default;

void Controller::Start() { impl_->informers.Start(); }

std::string Controller::NotReadyReason() const { return impl_->informers.NotSyncedReason(); }

void Controller::Run(const std::stop_token& stop) {
  impl_->loop.Run(impl_->options.workers, impl_->informers, stop);
}

}  // namespace sluice::controller
