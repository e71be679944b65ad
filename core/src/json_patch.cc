#include "sluice/core/json_patch.h"

#include <utility>
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

void EmitRemove(Json& patch, std::string path) {
  Json operation = Json::object();
  operation["op"] = "remove";
  operation["path"] = std::move(path);
  patch.push_back(std::move(operation));
}

void Emit(Json& patch, const char* op, std::string path, Json value) {
  Json operation = Json::object();
  operation["op"] = op;
  operation["path"] = std::move(path);
  operation["value"] = std::move(value);
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

void Diff(const Json& from, Json& to, const std::string& path, Json& patch);

void DiffArrays(const Json& from, Json& to, const std::string& path, Json& patch) {
  const bool grows = to.size() >= from.size();
  const auto counterpart = grows ? Align(to, from) : Align(from, to);
  if (counterpart.empty() && !(grows ? to : from).empty()) {
    Emit(patch, "replace", path, std::move(to));
    return;
  }
  if (grows) {
    // Left to right, so that every index is final when it is used.
    for (std::size_t i = 0; i < to.size(); ++i) {
      const std::string here = path + "/" + std::to_string(i);
      if (counterpart[i] < 0) {
        Emit(patch, "add", here, std::move(to[i]));
      } else {
        Diff(from[static_cast<std::size_t>(counterpart[i])], to[i], here, patch);
      }
    }
    return;
  }
  for (std::size_t i = from.size(); i-- > 0;) {
    if (counterpart[i] < 0) EmitRemove(patch, path + "/" + std::to_string(i));
  }
  std::size_t index = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (counterpart[i] < 0) continue;
    Diff(from[i], to[index], path + "/" + std::to_string(index), patch);
    ++index;
  }
}

void DiffObjects(const Json& from, Json& to, const std::string& path, Json& patch) {
  const auto& old_members = from.get_ref<const Json::object_t&>();
  auto& new_members = to.get_ref<Json::object_t&>();
  for (const auto& [key, value] : old_members) {
    if (!new_members.contains(key)) EmitRemove(patch, path + "/" + Escape(key));
  }
  for (auto& [key, value] : new_members) {
    const std::string here = path + "/" + Escape(key);
    const auto old = old_members.find(key);
    if (old == old_members.end() || (old->second.is_null() && !value.is_null())) {
      // "add" also over an explicit null: some patch libraries take null for a missing member.
      Emit(patch, "add", here, std::move(value));
    } else {
      Diff(old->second, value, here, patch);
    }
  }
}

void Diff(const Json& from, Json& to, const std::string& path, Json& patch) {
  if (from.is_object() && to.is_object()) {
    DiffObjects(from, to, path, patch);
  } else if (from.is_array() && to.is_array()) {
    DiffArrays(from, to, path, patch);
  } else if (from != to) {
    Emit(patch, "replace", path, std::move(to));
  }
}

}  // namespace

Json DiffJson(const Json& from, Json to) {
  Json patch = Json::array();
  Diff(from, to, "", patch);
  return patch;
}

}  // namespace sluice
