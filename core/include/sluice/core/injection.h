// What happens to a pod at admission, as one pure function: pod, namespace and a view of the
// cluster in; a patched pod or a refusal, with reasons, out.
//
//   auto outcome = injection::Inject({.pod = pod, .ns = "default"}, lookup, settings);
//   if (outcome.refusal) …
//   else if (outcome.pod) patch = DiffJson(pod, *outcome.pod);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/core/injection_settings.h"
#include "sluice/core/resource.h"
#include "sluice/core/result.h"

namespace sluice::injection {

// Reads one object of the cluster; kNotFound when there is none.
using Lookup =
    std::function<Result<std::shared_ptr<const Json>>(const ResourceType&, const ObjectKey&)>;

struct Request {
  const Json& pod;
  std::string ns;  // of the request; the pod may omit its own
  // What makes names unique; the same values give the same pod.
  std::int64_t unix_micros = 0;
  std::uint64_t seed = 0;
  // Keep what each rule made of the pod (Outcome::steps); costs a copy of the pod for each.
  bool keep_steps = false;
};

// Why something was done or left alone. Names are stable: they are metric labels and log fields.
struct Reason {
  std::string name;    // "dataset_sidecar", "injection_disabled", …
  std::string detail;  // the object it is about
};

// The pod after a rule changed it. Rules that changed nothing leave no step.
struct Step {
  std::string rule;  // a plugin's name, or "AutomaticMode"
  Json pod;
};

// "name detail, name, …": for logs and people.
std::string ToText(const std::vector<Reason>& reasons);

struct Refusal {
  int code = 500;       // HTTP: 400 not a pod, 403 denied, 500 cannot be done
  std::string reason;   // Kubernetes status reason; empty for none
  std::string message;  // names field, object and fix
  // The view may simply be behind; asking again with live reads can help.
  bool retry_live = false;
};

// Exactly one of three: refused; `pod` set (patched); or admitted as it is.
struct Outcome {
  std::optional<Refusal> refusal;
  // Errors do not refuse this pod. Who cannot do what the outcome needs goes on with PassOver.
  bool errors_pass = false;
  std::optional<Refusal> passed_over;  // the error that a pod was admitted with
  std::optional<Json> pod;
  std::string message;  // for the API server, when there is something to say
  Mode mode = Mode::kNone;
  std::vector<Reason> reasons;
  std::vector<std::string> warnings;  // shown to whoever created the pod
  std::vector<Json> config_maps;      // must exist before the pod starts
  std::vector<Step> steps;            // in order; only when they were asked for
  // The view may be behind the cluster in something that this outcome hangs on (a claim or the
  // namespace's label made a moment ago): decide again on live objects.
  bool look_again = false;
};

// The pod admitted as it is in spite of the error, with a warning that names pod, claim and fix.
Outcome PassOver(const Request& request, Mode mode, Refusal error, std::string reason);

// Never throws on any JSON in `request.pod`. Injecting an injected pod changes nothing.
Outcome Inject(const Request& request, const Lookup& lookup, const Settings& settings);

}  // namespace sluice::injection
