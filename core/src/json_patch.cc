#include "sluice/core/json_patch.h"

#include <vector>

namespace sluice {
namespace {

std::string Escape(const std::string& token) {
  std::string out;
  for (const char c : token) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

void Emit(Json& patch, const char* op, const std::string& path, const Json* value) {
  Json operation = Json::object({{"op", op}, {"path", path}});
  if (value != nullptr) operation["value"] = *value;
  patch.push_back(std::move(operation));
}

bool SameField(const Json& a, const Json& b, const char* key) {
  const auto in_a = a.find(key);
  const auto in_b = b.find(key);
  if (in_a == a.end() || in_b == b.end()) return in_a == a.end() && in_b == b.end();
  return *in_a == *in_b;
}

// Whether two array elements are the same thing, perhaps changed.
bool SameElement(const Json& a, const Json& b) {
  if (a.is_object() && b.is_object() && a.contains("name")) {
    return SameField(a, b, "name") && SameField(a, b, "mountPath");
  }
  return a == b;
}

// For each element of `longer` the index of its counterpart in `shorter`, or -1. Empty when
// `shorter` is no subsequence of `longer`.
std::vector<std::ptrdiff_t> Align(const Json& longer, const Json& shorter) {
  std::vector<std::ptrdiff_t> counterpart(longer.size(), -1);
  std::size_t next = 0;
  for (std::size_t i = 0; i < longer.size() && next < shorter.size(); ++i) {
    if (SameElement(shorter[next], longer[i])) {
      counterpart[i] = static_cast<std::ptrdiff_t>(next++);
    }
  }
  if (next != shorter.size()) counterpart.clear();
  return counterpart;
}

void Diff(const Json& from, const Json& to, const std::string& path, Json& patch);

void DiffArrays(const Json& from, const Json& to, const std::string& path, Json& patch) {
  const bool grows = to.size() >= from.size();
  const auto counterpart = grows ? Align(to, from) : Align(from, to);
  if (counterpart.empty() && !(grows ? to : from).empty()) {
    Emit(patch, "replace", path, &to);
    return;
  }
  if (grows) {
    // Left to right, so that every index is final when it is used.
    for (std::size_t i = 0; i < to.size(); ++i) {
      const std::string here = path + "/" + std::to_string(i);
      if (counterpart[i] < 0) {
        Emit(patch, "add", here, &to[i]);
      } else {
        Diff(from[static_cast<std::size_t>(counterpart[i])], to[i], here, patch);
      }
    }
    return;
  }
  for (std::size_t i = from.size(); i-- > 0;) {
    if (counterpart[i] < 0) Emit(patch, "remove", path + "/" + std::to_string(i), nullptr);
  }
  std::size_t index = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (counterpart[i] < 0) continue;
    Diff(from[i], to[index], path + "/" + std::to_string(index), patch);
    ++index;
  }
}

void DiffObjects(const Json& from, const Json& to, const std::string& path, Json& patch) {
  for (const auto& [key, value] : from.items()) {
    if (!to.contains(key)) Emit(patch, "remove", path + "/" + Escape(key), nullptr);
  }
  for (const auto& [key, value] : to.items()) {
    const std::string here = path + "/" + Escape(key);
    const auto old = from.find(key);
    if (old == from.end() || (old->is_null() && !value.is_null())) {
      // "add" also over an explicit null: some patch libraries take null for a missing member.
      Emit(patch, "add", here, &value);
    } else {
      Diff(*old, value, here, patch);
    }
  }
}

void Diff(const Json& from, const Json& to, const std::string& path, Json& patch) {
  if (from.is_object() && to.is_object()) {
    DiffObjects(from, to, path, patch);
  } else if (from.is_array() && to.is_array()) {
    DiffArrays(from, to, path, patch);
  } else if (from != to) {
    Emit(patch, "replace", path, &to);
  }
}

}  // namespace

Json DiffJson(const Json& from, const Json& to) {
  Json patch = Json::array();
  Diff(from, to, "", patch);
  return patch;
}

}  // namespace sluice
