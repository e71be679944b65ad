#include "sluice/controller/sidecar_controller.h"

#include "sluice/controller/sidecar_reconciler.h"
#include "sluice/kube/event_recorder.h"
#include "sluice/kube/informer.h"

#include "reconcile_loop.h"
#include "record_event.h"

namespace sluice::controller {
namespace {

constexpr const char* kFluidApp = "fluidapp-controller";

// Deciding needs labels, containers and their states; the rest is the larger part of a pod.
void DropWhatDoesNotDecide(Json& pod) {
  kube::DropBookkeeping(pod);
  if (const auto metadata = pod.find("metadata"); metadata != pod.end()) {
    metadata->erase("annotations");
  }
  if (const auto spec = pod.find("spec"); spec != pod.end() && spec->is_object()) {
    for (const char* part : {"initContainers", "volumes", "affinity", "tolerations"}) {
      spec->erase(part);
    }
  }
  if (const auto status = pod.find("status"); status != pod.end() && status->is_object()) {
    for (const char* part : {"initContainerStatuses", "conditions"}) status->erase(part);
  }
}

}  // namespace

struct SidecarController::Impl {
  SidecarControllerOptions options;
  kube::EventRecorder events;
  ReconcileLoop loop;  // before the informers, whose threads add to it
  kube::InformerSet informers;
  SidecarReconciler reconciler;

  Impl(Cluster& cluster, PodExec& exec, SidecarControllerOptions given, const Clock& clock,
       const platform::Log& log, platform::Metrics& metrics)
      : options(std::move(given)),
        events(cluster, kFluidApp, clock, log, metrics),
        loop(
            clock, options.queue,
            [this](const ObjectKey& key) { return reconciler.Reconcile(key); }, log, metrics),
        informers(cluster,
                  {{.type = resources::kPod,
                    .filter = {.label_selector = "fluid.io/managed-by=fluid"},
                    .transform = DropWhatDoesNotDecide}},
                  {}, log, metrics),
        reconciler(options.opt_out_label,
                   {.cluster = cluster,
                    .exec = exec,
                    .known = informers,
                    .clock = clock,
                    .emit = [this](const PlannedEvent& event) { RecordEvent(event, events); },
                    .log = log,
                    .metrics = metrics}) {
    informers.OnChange([this](const kube::Change& change) { loop.Add(change.key); });
  }
};

SidecarController::SidecarController(Cluster& cluster, PodExec& exec,
                                     SidecarControllerOptions options, const Clock& clock,
                                     platform::Log log, platform::Metrics& metrics)
    : impl_(std::make_unique<Impl>(cluster, exec, std::move(options), clock, log, metrics)) {}

SidecarController::~SidecarController() = default;

void SidecarController::Start() { impl_->informers.Start(); }

std::string SidecarController::NotReadyReason() const { return impl_->informers.NotSyncedReason(); }

void SidecarController::Run(const std::stop_token& stop) {
  impl_->loop.Run(impl_->options.workers, impl_->informers, stop);
}

}  // namespace sluice::controller
