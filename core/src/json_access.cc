#include "sluice/core/json_access.h"

namespace sluice {
namespace {

const Json* Member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

}  // namespace

const Json& ChildOf(const Json& object, std::string_view key) {
  static const Json kEmpty = Json::object();
  const Json* member = Member(object, key);
  return member != nullptr && member->is_object() ? *member : kEmpty;
}

const Json& ItemsOf(const Json& object, std::string_view key) {
  static const Json kEmpty = Json::array();
  const Json* member = Member(object, key);
  return member != nullptr && member->is_array() ? *member : kEmpty;
}

std::string StringOf(const Json& object, std::string_view key) {
  const Json* member = Member(object, key);
  return member != nullptr && member->is_string() ? member->get<std::string>() : std::string();
}

bool FlagOf(const Json& object, std::string_view key) {
  const Json* member = Member(object, key);
  return member != nullptr && member->is_boolean() && member->get<bool>();
}

bool HasType(const Json& object, std::string_view key, bool (Json::*is_type)() const noexcept) {
  const auto member = object.find(key);
  return member == object.end() || member->is_null() || ((*member).*is_type)();
}

Json& ObjectIn(Json& object, const std::string& key) {
  Json& member = object[key];
  if (!member.is_object()) member = Json::object();
  return member;
}

Json& ListIn(Json& object, const std::string& key) {
  Json& member = object[key];
  if (!member.is_array()) member = Json::array();
  return member;
}

}  // namespace sluice
