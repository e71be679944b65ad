// A file of Kubernetes objects in the place of a cluster.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "sluice/ports/object_source.h"

namespace sluice::yaml {

// Objects of a List document (JSON or YAML) or of a stream of YAML documents. Immutable.
class FileObjects final : public ObjectSource {
 public:
  // Called with each object before it is kept; may shrink it.
  using Transform = std::function<void(Json&)>;

  // kInvalidArgument names file and place.
  static Result<std::unique_ptr<FileObjects>> Load(const std::string& path,
                                                   const Transform& transform = nullptr);
  explicit FileObjects(Json list, const Transform& transform = nullptr);

  Result<std::shared_ptr<const Json>> Find(const ResourceType& type,
                                           const ObjectKey& key) const override;
  [[nodiscard]] std::size_t Size() const;

 private:
  void Add(Json object, const Transform& transform);

  using Objects = std::map<ObjectKey, std::shared_ptr<const Json>>;
  // By kind and API version.
  std::map<std::pair<std::string, std::string>, Objects> types_;
};

}  // namespace sluice::yaml
