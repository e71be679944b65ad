#include "pod_edit.h"

#include <algorithm>

#include "sluice/core/json_access.h"

namespace sluice::injection {
namespace {

template <typename Wanted>
std::set<std::string> VolumesWhere(const Json& pod, Wanted wanted) {
  std::set<std::string> names;
  for (const Json& volume : ItemsOf(ChildOf(pod, "spec"), "volumes")) {
    const auto source = volume.find("persistentVolumeClaim");
    if (source != volume.end() && source->is_object() && wanted(StringOf(*source, "claimName"))) {
      names.insert(StringOf(volume, "name"));
    }
  }
  return names;
}

}  // namespace

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string LabelOf(const Json& pod, std::string_view key) {
  return StringOf(ChildOf(ChildOf(pod, "metadata"), "labels"), key);
}

std::string AnnotationOf(const Json& pod, std::string_view key) {
  return StringOf(ChildOf(ChildOf(pod, "metadata"), "annotations"), key);
}

void SetLabel(Json& pod, const std::string& key, const std::string& value) {
  ObjectIn(ObjectIn(pod, "metadata"), "labels")[key] = value;
}

void SetAnnotation(Json& pod, const std::string& key, const std::string& value) {
  ObjectIn(ObjectIn(pod, "metadata"), "annotations")[key] = value;
}

std::set<std::string> VolumesOfClaims(const Json& pod, const DatasetUses& uses) {
  return VolumesWhere(pod, [&](const std::string& claim) { return uses.contains(claim); });
}

std::set<std::string> VolumesOfClaim(const Json& pod, const std::string& claim) {
  return VolumesWhere(pod, [&](const std::string& other) { return other == claim; });
}

bool MountsAny(const Json& container, const std::set<std::string>& volumes) {
  const Json& mounts = ItemsOf(container, "volumeMounts");
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const Json& mount) { return volumes.contains(StringOf(mount, "name")); });
}

bool HasContainer(const Json& pod, std::string_view name) {
  const auto has = [&](const char* list) {
    const Json& containers = ItemsOf(ChildOf(pod, "spec"), list);
    return std::any_of(containers.begin(), containers.end(),
                       [&](const Json& container) { return StringOf(container, "name") == name; });
  };
  return has("containers") || has("initContainers");
}

std::string NameInPaths(const Json& pod) {
  const Json& metadata = ChildOf(pod, "metadata");
  const std::string name = StringOf(metadata, "name");
  return name.empty() ? StringOf(metadata, "generateName") + "--generate-name" : name;
}

std::vector<Json*> AllContainers(Json& pod) {
  std::vector<Json*> containers;
  Json& spec = ObjectIn(pod, "spec");
  for (const char* list : {"initContainers", "containers"}) {
    if (ItemsOf(spec, list).empty()) continue;
    for (Json& container : spec[list]) {
      if (container.is_object()) containers.push_back(&container);
    }
  }
  return containers;
}

void Prepend(Json& pod, const std::string& list, Json element) {
  auto& items = ListIn(ObjectIn(pod, "spec"), list).get_ref<Json::array_t&>();
  items.insert(items.begin(), std::move(element));
}

}  // namespace sluice::injection
