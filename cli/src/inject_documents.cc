#include "inject_documents.h"

#include <utility>

#include <fmt/format.h>

#include "sluice/core/fnv.h"
#include "sluice/core/json_access.h"
#include "sluice/core/workload.h"

namespace sluice::cli {
namespace {

constexpr const char* kKnativeGroup = "serving.knative.dev/";
constexpr std::uint64_t kOtherSeed = 0x9e3779b97f4a7c15U;

bool LooksLikeJson(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && text[first] == '{';
}

// Stands in for a time: a number of as many digits.
UniqueBy UniqueOf(const std::string& name, const Json& pod) {
  constexpr std::uint64_t kLeast = 1'000'000'000'000'000U;
  const std::uint64_t hash =
      Fnv1a(name + '\n' + pod.dump(-1, ' ', false, Json::error_handler_t::replace));
  return {.unix_micros = static_cast<std::int64_t>(kLeast + hash % (9 * kLeast)), .seed = hash};
}

class StreamInjection {
 public:
  StreamInjection(const injection::Lookup& lookup, const injection::Settings& settings,
                  const InjectOptions& options)
      : lookup_(lookup), settings_(settings), options_(options) {}

  Result<InjectedStream> Run(const std::string& text) {
    auto documents = yaml::Split(text);
    if (!documents) return Fail(documents.error());
    for (yaml::Document& document : *documents) {
      const Json before = document.value;
      if (auto status = InjectDocument(document.value); !status) return Fail(status.error());
      if (document.value == before) {
        result_.text += document.mark + document.text;
        continue;
      }
      if (!document.mark.empty() || !result_.text.empty()) result_.text += "---\n";
      result_.text += LooksLikeJson(document.text) ? document.value.dump(2) + "\n"
                                                   : yaml::Format(document.value);
    }
    return std::move(result_);
  }

 private:
  Status InjectDocument(Json& document) {
    if (document.is_null()) return Ok();
    if (!document.is_object()) {
      return Fail(Code::kInvalidArgument, "a document is no Kubernetes object but a list or text");
    }
    if (!StringOf(document, "kind").ends_with("List") || ItemsOf(document, "items").empty()) {
      return InjectObject(document);
    }
    for (Json& item : document["items"]) {
      if (auto status = InjectDocument(item); !status) return status;
    }
    return Ok();
  }

  Status InjectObject(Json& object) {
    const auto path = workload::TemplatePath(object);
    if (!path) return Ok();
    const std::string own_ns = StringOf(ChildOf(object, "metadata"), "namespace");
    const std::string& ns = own_ns.empty() ? options_.ns : own_ns;
    InjectedObject report;
    report.name = fmt::format("{} {}/{}", StringOf(object, "kind"), ns, NameOf(object));
    const Json pod = workload::PodOf(object, *path, ns);
    const UniqueBy unique = options_.unique.value_or(UniqueOf(report.name, pod));
    auto outcome = Inject(pod, ns, unique);
    if (outcome.refusal) {
      return Fail(Code::kConflict, fmt::format("{}: {}", report.name, outcome.refusal->message));
    }
    report.mode = outcome.mode;
    report.why = ToText(outcome.reasons);
    report.warnings = outcome.warnings;
    WarnOfUnique(object, pod, ns, unique, outcome, report);
    WarnOfKnative(object, outcome, report);
    for (injection::Step& step : outcome.steps) {
      Json after = object;
      PutBack(std::move(step.pod), *path, own_ns, after);
      report.changes.push_back(
          {.rule = std::move(step.rule), .before = std::move(object), .after = after});
      object = std::move(after);
    }
    for (Json& config_map : outcome.config_maps) {
      const std::string key = KeyOf(config_map).ToString();
      result_.config_maps.emplace(key, std::move(config_map));
    }
    result_.objects.push_back(std::move(report));
    return Ok();
  }

  injection::Outcome Inject(const Json& pod, const std::string& ns, const UniqueBy& unique) const {
    return injection::Inject({.pod = pod,
                              .ns = ns,
                              .unix_micros = unique.unix_micros,
                              .seed = unique.seed,
                              .keep_steps = true},
                             lookup_, settings_);
  }

  static void PutBack(Json pod, const std::string& path, const std::string& own_ns, Json& object) {
    if (!path.empty()) {
      workload::PutBack(pod, path, object);
      return;
    }
    if (own_ns.empty()) pod["metadata"].erase("namespace");
    object = std::move(pod);
  }

  static std::string NameOf(const Json& object) {
    const Json& metadata = ChildOf(object, "metadata");
    const std::string name = StringOf(metadata, "name");
    return name.empty() ? StringOf(metadata, "generateName") + "*" : name;
  }

  // At admission each pod gets directories of its own; all pods of one template get the same.
  void WarnOfUnique(const Json& object, const Json& pod, const std::string& ns, UniqueBy unique,
                    const injection::Outcome& outcome, InjectedObject& report) const {
    if (!outcome.pod || outcome.mode != injection::Mode::kSidecar ||
        StringOf(object, "kind") == "Pod") {
      return;
    }
    unique.seed ^= kOtherSeed;
    if (Inject(pod, ns, unique).pod == outcome.pod) return;
    report.warnings.push_back(
        "its pods share one host directory, so two of them must not run on one node; let the "
        "webhook inject them instead, or keep them apart by spec.affinity.podAntiAffinity");
  }

  static void WarnOfKnative(const Json& object, const injection::Outcome& outcome,
                            InjectedObject& report) {
    if (!outcome.pod || outcome.mode != injection::Mode::kSidecar ||
        !StringOf(object, "apiVersion").starts_with(kKnativeGroup)) {
      return;
    }
    report.warnings.push_back(
        "Knative takes hostPath volumes, init containers and privileged containers only with its "
        "features kubernetes.podspec-volumes-hostpath, kubernetes.podspec-init-containers and "
        "kubernetes.podspec-securitycontext; the webhook needs none of them");
  }

  const injection::Lookup& lookup_;
  const injection::Settings& settings_;
  const InjectOptions& options_;
  InjectedStream result_;
};

}  // namespace

Result<InjectedStream> InjectStream(const std::string& text, const injection::Lookup& lookup,
                                    const injection::Settings& settings,
                                    const InjectOptions& options) {
  return StreamInjection(lookup, settings, options).Run(text);
}

}  // namespace sluice::cli
