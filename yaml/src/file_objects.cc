#include "sluice/yaml/file_objects.h"

#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/platform/read_file.h"
#include "sluice/yaml/yaml.h"

namespace sluice::yaml {
namespace {

// A whole cluster with its pods.
constexpr std::size_t kMostObjectBytes = 1U << 30;

}  // namespace

Result<std::unique_ptr<FileObjects>> FileObjects::Load(const std::string& path,
                                                       const Transform& transform) {
  SLUICE_TRY(text, platform::ReadFile(path, kMostObjectBytes), "objects file");
  // JSON first: it is a hundred times faster than YAML, of which it is a part.
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) {
    auto documents = ParseStream(text);
    if (!documents) return Fail(documents.error().Wrap(fmt::format("objects file {}", path)));
    json = Json::object({{"items", Json(std::move(*documents))}});
  }
  if (!json.is_object()) {
    return Fail(Code::kInvalidArgument,
                fmt::format("objects file {}: must be a List or Kubernetes objects", path));
  }
  return std::make_unique<FileObjects>(std::move(json), transform);
}

FileObjects::FileObjects(Json list, const Transform& transform) { Add(std::move(list), transform); }

void FileObjects::Add(Json object, const Transform& transform) {
  if (object.is_object() && object.contains("items")) {
    if (!object["items"].is_array()) return;
    for (const Json& item : object["items"]) Add(item, transform);
    return;
  }
  const ObjectKey key = KeyOf(object);
  if (key.name.empty()) return;
  Objects& objects = types_[{StringOf(object, "kind"), StringOf(object, "apiVersion")}];
  if (transform) transform(object);
  // A copy, not a move: it lies apart from the document, whose memory can be given back whole.
  objects[key] = std::make_shared<const Json>(object);
}

std::size_t FileObjects::Size() const {
  return std::accumulate(
      types_.begin(), types_.end(), std::size_t{0},
      [](std::size_t sum, const auto& type) { return sum + type.second.size(); });
}

Result<std::shared_ptr<const Json>> FileObjects::Find(const ResourceType& type,
                                                      const ObjectKey& key) const {
  const auto objects = types_.find({type.kind, type.ApiVersion()});
  const auto found =
      objects == types_.end() ? Objects::const_iterator() : objects->second.find(key);
  if (objects == types_.end() || found == objects->second.end()) {
    return Fail(Code::kNotFound, fmt::format("{} {} not found", type.kind, key.ToString()));
  }
  return found->second;
}

}  // namespace sluice::yaml
