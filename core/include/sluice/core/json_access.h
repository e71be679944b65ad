// Reading and writing loosely typed documents without exceptions: what is absent, null or of the
// wrong type reads as empty.
#pragma once

#include <string>
#include <string_view>

#include "sluice/core/resource.h"

namespace sluice {

// The member `key` when it is an object, else an empty object (a shared static).
const Json& ChildOf(const Json& object, std::string_view key);
// The member `key` when it is an array, else an empty array (a shared static).
const Json& ItemsOf(const Json& object, std::string_view key);
// The member `key` when it is a string, else "".
std::string StringOf(const Json& object, std::string_view key);
// True only for a member that is the boolean true.
bool FlagOf(const Json& object, std::string_view key);
// Whether the member `key` of an object has this type where it is given; null counts as absent.
bool HasType(const Json& object, std::string_view key, bool (Json::*is_type)() const noexcept);

// The member `key` for writing; made an empty object or array when it is none. `object` must be an
// object.
Json& ObjectIn(Json& object, const std::string& key);
Json& ListIn(Json& object, const std::string& key);

}  // namespace sluice
