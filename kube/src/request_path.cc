#include "request_path.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::kube {
namespace {

constexpr std::size_t kMaxNameLength = 253;

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

// The API server's own rule for names in paths, and its length limit.
Status CheckSegment(std::string_view what, const std::string& segment) {
  const bool printable = std::ranges::none_of(segment, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f || c == '/' || c == '%';
  });
  if (segment.empty() || segment == "." || segment == ".." || !printable ||
      segment.size() > kMaxNameLength) {
    return Fail(Code::kInvalidArgument,
                fmt::format("{} '{}' cannot name an object", what,
                            PercentEncode(segment.substr(0, kMaxNameLength))));
  }
  return Ok();
}

}  // namespace

std::string PercentEncode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (IsUnreserved(c)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Result<std::string> CollectionPath(const ResourceType& type, const std::string& ns) {
  std::string path = type.group.empty() ? fmt::format("/api/{}", type.version)
                                        : fmt::format("/apis/{}/{}", type.group, type.version);
  if (type.namespaced && !ns.empty()) {
    SLUICE_CHECK(CheckSegment("namespace", ns), type.plural);
    path += "/namespaces/" + PercentEncode(ns);
  }
  return path + "/" + type.plural;
}

Result<std::string> ObjectPath(const ResourceType& type, const ObjectKey& key,
                               const std::string& subresource) {
  if (type.namespaced) SLUICE_CHECK(CheckSegment("namespace", key.ns), type.plural);
  SLUICE_CHECK(CheckSegment("name", key.name), type.plural);
  SLUICE_TRY(collection, CollectionPath(type, key.ns), "path");
  std::string path = collection + "/" + PercentEncode(key.name);
  if (!subresource.empty()) path += "/" + subresource;
  return path;
}

std::string Query(const std::map<std::string, std::string>& parameters) {
  std::string query;
  for (const auto& [key, value] : parameters) {
    if (value.empty()) continue;
    query += fmt::format("{}{}={}", query.empty() ? "?" : "&", key, PercentEncode(value));
  }
  return query;
}

}  // namespace sluice::kube
