#include "pod_shape.h"

#include <string>
#include <vector>

#include <fmt/format.h>

namespace sluice::injection {
namespace {

struct Shape;

struct Field {
  const char* name;
  const Shape* shape;
};

// The types of the fields we read or write, as data.
struct Shape {
  enum class Kind { kString, kBool, kInteger, kObject, kArray, kMap };
  Kind kind;
  std::vector<Field> fields;       // of an object
  const Shape* element = nullptr;  // of an array or map
};

using Kind = Shape::Kind;
const Shape kString{Kind::kString, {}};
const Shape kBool{Kind::kBool, {}};
const Shape kInteger{Kind::kInteger, {}};
const Shape kAnyObject{Kind::kObject, {}};
const Shape kStringMap{Kind::kMap, {}, &kString};
const Shape kStrings{Kind::kArray, {}, &kString};

const Shape kSelectorExpression{Kind::kObject,
                                {{"key", &kString}, {"operator", &kString}, {"values", &kStrings}}};
const Shape kSelectorExpressions{Kind::kArray, {}, &kSelectorExpression};
const Shape kTerm{
    Kind::kObject,
    {{"matchExpressions", &kSelectorExpressions}, {"matchFields", &kSelectorExpressions}}};
const Shape kTerms{Kind::kArray, {}, &kTerm};
const Shape kRequired{Kind::kObject, {{"nodeSelectorTerms", &kTerms}}};
const Shape kPreference{Kind::kObject, {{"weight", &kInteger}, {"preference", &kTerm}}};
const Shape kPreferences{Kind::kArray, {}, &kPreference};
const Shape kNodeAffinity{Kind::kObject,
                          {{"requiredDuringSchedulingIgnoredDuringExecution", &kRequired},
                           {"preferredDuringSchedulingIgnoredDuringExecution", &kPreferences}}};
const Shape kAffinity{Kind::kObject, {{"nodeAffinity", &kNodeAffinity}}};
const Shape kToleration{
    Kind::kObject,
    {{"key", &kString}, {"operator", &kString}, {"value", &kString}, {"effect", &kString}}};
const Shape kTolerations{Kind::kArray, {}, &kToleration};

const Shape kMount{Kind::kObject,
                   {{"name", &kString},
                    {"mountPath", &kString},
                    {"subPath", &kString},
                    {"subPathExpr", &kString},
                    {"mountPropagation", &kString},
                    {"readOnly", &kBool}}};
const Shape kMounts{Kind::kArray, {}, &kMount};
const Shape kEnv{Kind::kObject, {{"name", &kString}, {"value", &kString}}};
const Shape kEnvs{Kind::kArray, {}, &kEnv};
const Shape kLifecycle{Kind::kObject, {{"postStart", &kAnyObject}, {"preStop", &kAnyObject}}};
const Shape kContainer{Kind::kObject,
                       {{"name", &kString},
                        {"image", &kString},
                        {"command", &kStrings},
                        {"args", &kStrings},
                        {"env", &kEnvs},
                        {"volumeMounts", &kMounts},
                        {"lifecycle", &kLifecycle},
                        {"restartPolicy", &kString}}};
const Shape kContainers{Kind::kArray, {}, &kContainer};
const Shape kClaim{Kind::kObject, {{"claimName", &kString}, {"readOnly", &kBool}}};
const Shape kVolume{Kind::kObject, {{"name", &kString}, {"persistentVolumeClaim", &kClaim}}};
const Shape kVolumes{Kind::kArray, {}, &kVolume};

const Shape kMetadata{Kind::kObject,
                      {{"name", &kString},
                       {"generateName", &kString},
                       {"namespace", &kString},
                       {"labels", &kStringMap},
                       {"annotations", &kStringMap}}};
const Shape kSpec{Kind::kObject,
                  {{"containers", &kContainers},
                   {"initContainers", &kContainers},
                   {"volumes", &kVolumes},
                   {"nodeSelector", &kStringMap},
                   {"nodeName", &kString},
                   {"affinity", &kAffinity},
                   {"tolerations", &kTolerations},
                   {"restartPolicy", &kString}}};
const Shape kPod{
    Kind::kObject,
    {{"apiVersion", &kString}, {"kind", &kString}, {"metadata", &kMetadata}, {"spec", &kSpec}}};

const char* KindName(Kind kind) {
  switch (kind) {
    case Kind::kString:
      return "a string";
    case Kind::kBool:
      return "a boolean";
    case Kind::kInteger:
      return "an integer";
    case Kind::kObject:
      return "an object";
    case Kind::kArray:
      return "an array";
    case Kind::kMap:
      return "an object of strings";
  }
  return "";
}

bool HasKind(const Json& value, Kind kind) {
  switch (kind) {
    case Kind::kString:
      return value.is_string();
    case Kind::kBool:
      return value.is_boolean();
    case Kind::kInteger:
      return value.is_number_integer();
    case Kind::kArray:
      return value.is_array();
    case Kind::kObject:
    case Kind::kMap:
      return value.is_object();
  }
  return false;
}

// Where we are, written out only for an error.
struct Path {
  const Path* up;
  std::string_view name;
  std::size_t index = 0;  // of an array element, which has no name

  [[nodiscard]] std::string ToString() const {
    if (up == nullptr) return "";
    const std::string above = up->ToString();
    if (name.empty()) return fmt::format("{}[{}]", above, index);
    return above.empty() ? std::string(name) : fmt::format("{}.{}", above, name);
  }
};

// Recursion is as deep as the table above, whatever the document.
Status Check(const Json& value, const Shape& shape, const Path& path) {
  if (value.is_null()) return Ok();
  if (!HasKind(value, shape.kind)) {
    return Fail(Code::kInvalidArgument, fmt::format("field {} must be {}, not {}", path.ToString(),
                                                    KindName(shape.kind), value.type_name()));
  }
  for (const Field& field : shape.fields) {
    const auto member = value.find(field.name);
    if (member == value.end()) continue;
    auto status = Check(*member, *field.shape, Path{&path, field.name});
    if (!status) return status;
  }
  if (shape.kind == Kind::kArray) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      auto status = Check(value[i], *shape.element, Path{&path, "", i});
      if (!status) return status;
    }
  } else if (shape.kind == Kind::kMap) {
    for (const auto& [key, member] : value.items()) {
      auto status = Check(member, *shape.element, Path{&path, key});
      if (!status) return status;
    }
  }
  return Ok();
}

}  // namespace

Status CheckPodShape(const Json& pod) {
  if (!pod.is_object()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("the object must be a Pod, not {}", pod.type_name()));
  }
  return Check(pod, kPod, Path{nullptr, ""});
}

}  // namespace sluice::injection
