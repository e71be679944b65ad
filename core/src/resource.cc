#include "sluice/core/resource.h"

namespace sluice {

const Json& ValueAt(const Json& object, const std::string& pointer) {
  static const Json kNull;
  const Json::json_pointer path(pointer);
  return object.contains(path) ? object.at(path) : kNull;
}

std::string StringAt(const Json& object, const std::string& pointer, std::string fallback) {
  const Json& value = ValueAt(object, pointer);
  return value.is_string() ? value.get<std::string>() : fallback;
}

ObjectKey KeyOf(const Json& object) {
  return {StringAt(object, "/metadata/namespace"), StringAt(object, "/metadata/name")};
}

}  // namespace sluice
