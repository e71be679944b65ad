#include "sluice/webhook/admission.h"

#include <utility>

#include <fmt/format.h>

#include "sluice/core/fnv.h"
#include "sluice/core/json_access.h"
#include "sluice/core/json_patch.h"

namespace sluice::webhook {
namespace {

std::string NamespaceUid(const ObjectSource& source, const std::string& ns) {
  auto object = source.Find(resources::kNamespace, {"", ns});
  return object ? StringAt(**object, "/metadata/uid") : "";
}

// Group, version and kind must be a Pod's when they are given.
std::string NotAPod(const Json& object) {
  if (object.is_null()) return "there is no content to decode";
  const std::string api_version = StringOf(object, "apiVersion");
  const std::string kind = StringOf(object, "kind");
  if ((kind.empty() || kind == "Pod") && (api_version.empty() || api_version == "v1")) return "";
  return fmt::format("unable to decode {}{}, Kind={} into *v1.Pod",
                     api_version.find('/') == std::string::npos ? "/" : "", api_version, kind);
}

std::string FirstReason(const injection::Outcome& outcome) {
  return outcome.reasons.empty() ? "" : outcome.reasons.front().name;
}

std::string ErrorOf(const injection::Outcome& outcome) {
  if (outcome.refusal) return outcome.refusal->message;
  return outcome.passed_over ? outcome.passed_over->message : "";
}

}  // namespace

std::uint64_t RequestSeed(std::string_view uid, std::int64_t unix_micros) {
  return Fnv1a(uid) ^ static_cast<std::uint64_t>(unix_micros);
}

Admission::Admission(const Parts& parts, injection::Settings settings)
    : parts_(parts),
      settings_(std::move(settings)),
      seconds_(parts.metrics.AddHistogram("sluice_webhook_admission_seconds",
                                          "Time from a decoded request to its answer.",
                                          platform::LatencyBuckets())) {}

AdmissionAnswer Admission::Admit(const AdmissionRequest& request) const {
  const auto begin = parts_.clock.Now();
  AdmissionAnswer answer;
  const std::string fault = settings_.disabled ? "" : NotAPod(request.object);
  if (!fault.empty()) {
    answer = BadRequest(400, fault);
    Count("none", "malformed", "not_a_pod");
  } else {
    const ObjectSource* source = &parts_.state;
    auto outcome = Decide(request, *source);
    const bool look_again = outcome.refusal ? outcome.refusal->retry_live : outcome.look_again;
    if (look_again && parts_.live != nullptr) {
      source = parts_.live;
      outcome = Decide(request, *source);
    }
    if (!request.dry_run) MakeConfigMaps(request, *source, outcome);
    answer = Answer(request, std::move(outcome));
  }
  seconds_.Observe(std::chrono::duration<double>(parts_.clock.Now() - begin).count());
  return answer;
}

std::string Admission::Serve(std::string_view content_type, std::string_view body) const {
  const DecodedReview decoded = DecodeReview(content_type, body);
  if (decoded.error) {
    Count("none", "malformed", decoded.error->code == 413 ? "too_large" : "bad_review");
    return EncodeReview(nullptr, *decoded.error);
  }
  return EncodeReview(&*decoded.request, Admit(*decoded.request));
}

injection::Outcome Admission::Decide(const AdmissionRequest& request,
                                     const ObjectSource& source) const {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(
                          parts_.clock.WallNow().time_since_epoch())
                          .count();
  return injection::Inject(
      {.pod = request.object,
       .ns = request.ns,
       .unix_micros = micros,
       .seed = RequestSeed(request.uid, micros)},
      [&](const ResourceType& type, const ObjectKey& key) { return source.Find(type, key); },
      settings_);
}

void Admission::MakeConfigMaps(const AdmissionRequest& request, const ObjectSource& source,
                               injection::Outcome& outcome) const {
  if (outcome.refusal || outcome.config_maps.empty() || parts_.config_maps == nullptr) return;
  const std::string namespace_uid = NamespaceUid(source, request.ns);
  for (const Json& config_map : outcome.config_maps) {
    auto status = parts_.config_maps->Ensure(config_map, namespace_uid);
    if (status) continue;
    constexpr const char* kReason = "config_map_failed";
    injection::Refusal refusal{
        .code = 500,
        .reason = "",
        .message = fmt::format("write what the injected containers of pod {}/{} mount: {}",
                               request.ns, request.name, status.error().message)};
    if (outcome.errors_pass) {
      outcome = injection::PassOver({.pod = request.object, .ns = request.ns}, outcome.mode,
                                    std::move(refusal), kReason);
    } else {
      outcome.reasons = {{kReason, ""}};
      outcome.refusal = std::move(refusal);
    }
    return;
  }
}

AdmissionAnswer Admission::Answer(const AdmissionRequest& request,
                                  injection::Outcome outcome) const {
  AdmissionAnswer answer;
  answer.warnings = std::move(outcome.warnings);
  answer.audit_annotations = {{"mode", std::string(ModeName(outcome.mode))},
                              {"why", ToText(outcome.reasons)}};
  if (outcome.passed_over) {
    answer.audit_annotations["ignored-error"] = outcome.passed_over->message;
  }
  if (outcome.refusal) {
    answer.code = outcome.refusal->code;
    answer.reason = outcome.refusal->reason;
    answer.message = outcome.refusal->message;
  } else {
    answer.allowed = true;
    answer.message = outcome.message;
    if (outcome.pod) answer.patch = DiffJson(request.object, std::move(*outcome.pod));
  }
  Record(request, outcome, answer);
  return answer;
}

void Admission::Count(std::string_view mode, std::string_view outcome,
                      const std::string& reason) const {
  parts_.metrics
      .AddCounter(
          "sluice_webhook_admissions_total", "Admission requests answered.",
          {{"mode", std::string(mode)}, {"outcome", std::string(outcome)}, {"reason", reason}})
      .Add();
}

void Admission::Record(const AdmissionRequest& request, const injection::Outcome& outcome,
                       const AdmissionAnswer& answer) const {
  const bool patched = !answer.patch.empty();
  const std::string_view result = !answer.allowed       ? "refused"
                                  : outcome.passed_over ? "error_ignored"
                                  : patched             ? "patched"
                                                        : "untouched";
  Count(ModeName(outcome.mode), result, FirstReason(outcome));
  if (result == "untouched") return;  // most pods; nothing changed
  const platform::LogFields fields = {{"uid", request.uid},
                                      {"namespace", request.ns},
                                      {"name", request.name},
                                      {"mode", ModeName(outcome.mode)},
                                      {"outcome", result},
                                      {"reason", FirstReason(outcome)},
                                      {"code", answer.code},
                                      {"error", ErrorOf(outcome)},
                                      {"operations", answer.patch.size()}};
  if (!answer.allowed) {
    parts_.log.Warn("refused a pod", fields);
  } else if (outcome.passed_over) {
    parts_.log.Warn("admitted a pod in spite of an error", fields);
  } else {
    parts_.log.Info("admitted a pod with changes", fields);
  }
}

}  // namespace sluice::webhook
