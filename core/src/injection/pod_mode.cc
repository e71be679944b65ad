#include "pod_mode.h"

#include <algorithm>

#include <fmt/format.h>

#include "sluice/core/json_access.h"

#include "keys.h"
#include "pod_edit.h"

namespace sluice::injection {
namespace {

constexpr const char* kDefaultPlatform = "default";
constexpr const char* kUnprivilegedPlatform = "unprivileged";

bool HasPlatformLabel(const Json& pod, const Settings& settings) {
  return !settings.serverless_platform_key.empty() &&
         ChildOf(ChildOf(pod, "metadata"), "labels").contains(settings.serverless_platform_key);
}

bool Accepts(const std::map<std::string, std::vector<std::string>>& table, const std::string& key,
             const std::string& value) {
  const auto entry = table.find(key);
  return entry != table.end() &&
         (entry->second.empty() ||
          std::find(entry->second.begin(), entry->second.end(), value) != entry->second.end());
}

bool IsVirtualNodeName(const ServerlessTable& table, const std::string& name) {
  return std::any_of(table.node_name_prefixes.begin(), table.node_name_prefixes.end(),
                     [&](const std::string& prefix) { return name.starts_with(prefix); });
}

// Whether a node that satisfies the expression is surely a serverless one.
bool IsServerlessExpression(const ServerlessTable& table, const Json& expression) {
  const std::string key = StringOf(expression, "key");
  const std::string op = StringOf(expression, "operator");
  if (op == "Exists") return table.node_labels.contains(key);
  const Json& values = ItemsOf(expression, "values");
  return op == "In" && !values.empty() &&
         std::all_of(values.begin(), values.end(), [&](const Json& value) {
           return value.is_string() && Accepts(table.node_labels, key, value.get<std::string>());
         });
}

bool IsServerlessField(const ServerlessTable& table, const Json& field) {
  const Json& values = ItemsOf(field, "values");
  return StringOf(field, "key") == "metadata.name" && StringOf(field, "operator") == "In" &&
         !values.empty() && std::all_of(values.begin(), values.end(), [&](const Json& value) {
           return value.is_string() && IsVirtualNodeName(table, value.get<std::string>());
         });
}

// Every alternative of the required affinity must lead to a serverless node. Empty terms match no
// node, and so are none.
bool RequiresServerlessNode(const Json& spec, const ServerlessTable& table) {
  const Json& required = ChildOf(ChildOf(ChildOf(spec, "affinity"), "nodeAffinity"),
                                 "requiredDuringSchedulingIgnoredDuringExecution");
  bool serverless = false;
  for (const Json& term : ItemsOf(required, "nodeSelectorTerms")) {
    const Json& expressions = ItemsOf(term, "matchExpressions");
    const Json& fields = ItemsOf(term, "matchFields");
    if (expressions.empty() && fields.empty()) continue;
    serverless = std::any_of(expressions.begin(), expressions.end(),
                             [&](const Json& e) { return IsServerlessExpression(table, e); }) ||
                 std::any_of(fields.begin(), fields.end(),
                             [&](const Json& f) { return IsServerlessField(table, f); });
    if (!serverless) break;
  }
  return serverless;
}

}  // namespace

Mode LabelledMode(const Json& pod, const Settings& settings) {
  if (LabelOf(pod, keys::kServerlessInject) == keys::kTrue ||
      LabelOf(pod, keys::kDeprecatedSidecarInject) == keys::kTrue ||
      HasPlatformLabel(pod, settings)) {
    return Mode::kSidecar;
  }
  return LabelOf(pod, keys::kServerfulInject) == keys::kTrue ? Mode::kCsi : Mode::kNone;
}

Result<Platform> PlatformOf(const Json& pod, const Settings& settings) {
  std::string platform = kDefaultPlatform;
  const bool labelled = LabelOf(pod, keys::kServerlessInject) == keys::kTrue;
  const bool deprecated = LabelOf(pod, keys::kDeprecatedSidecarInject) == keys::kTrue;
  if (HasPlatformLabel(pod, settings)) {
    if (labelled) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("metadata.labels: {} and {} exclude each other; remove the latter",
                              keys::kServerlessInject, settings.serverless_platform_key));
    }
    platform = LabelOf(pod, settings.serverless_platform_key);
  } else if (LabelOf(pod, keys::kUnprivilegedInject) == keys::kTrue) {
    platform = kUnprivilegedPlatform;
  } else if (!deprecated) {
    const std::string named = AnnotationOf(pod, keys::kPlatform);
    if (!named.empty()) platform = named;
  }
  if (platform == kDefaultPlatform) return Platform::kDefault;
  if (platform == kUnprivilegedPlatform) return Platform::kUnprivileged;
  return Fail(Code::kInvalidArgument,
              fmt::format("fuse sidecar mutator cannot be found for platform {}", platform));
}

std::string BoundForServerlessNode(const Json& pod, const Json& namespace_labels,
                                   const ServerlessTable& table) {
  const Json& spec = ChildOf(pod, "spec");
  for (const auto& [key, value] : ChildOf(spec, "nodeSelector").items()) {
    if (value.is_string() && Accepts(table.node_labels, key, value.get<std::string>())) {
      return fmt::format("nodeSelector {}", key);
    }
  }
  const Json& labels = ChildOf(ChildOf(pod, "metadata"), "labels");
  for (const auto& [key, values] : table.pod_labels) {
    if (labels.contains(key) && Accepts(table.pod_labels, key, StringOf(labels, key))) {
      return fmt::format("label {}", key);
    }
  }
  for (const auto& [key, values] : table.namespace_labels) {
    if (!labels.contains(key) && namespace_labels.contains(key) &&
        Accepts(table.namespace_labels, key, StringOf(namespace_labels, key))) {
      return fmt::format("namespace label {}", key);
    }
  }
  for (const Json& toleration : ItemsOf(spec, "tolerations")) {
    const std::string key = StringOf(toleration, "key");
    if (std::find(table.taint_keys.begin(), table.taint_keys.end(), key) !=
        table.taint_keys.end()) {
      return fmt::format("toleration {}", key);
    }
  }
  if (IsVirtualNodeName(table, StringOf(spec, "nodeName"))) return "nodeName";
  const std::string scheduler = StringOf(spec, "schedulerName");
  if (std::find(table.scheduler_names.begin(), table.scheduler_names.end(), scheduler) !=
      table.scheduler_names.end()) {
    return fmt::format("schedulerName {}", scheduler);
  }
  return RequiresServerlessNode(spec, table) ? "node affinity" : "";
}

}  // namespace sluice::injection
