#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "sluice/webhook/profile.h"

namespace sluice::webhook {
namespace {

constexpr int kMaxYamlDepth = 64;

Json PlainScalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
    return nullptr;
  }
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  if (auto [last, error] = std::from_chars(text.data(), end, integer);
      error == std::errc() && last == end) {
    return integer;
  }
  double number = 0;
  if (auto [last, error] = std::from_chars(text.data(), end, number);
      error == std::errc() && last == end && std::isfinite(number)) {
    return number;
  }
  return text;
}

// Fails on a document that is too deep, which aliases can make of a small file.
bool Convert(const YAML::Node& node, int depth, Json& out) {
  if (depth > kMaxYamlDepth) return false;
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null:
      out = nullptr;
      return true;
    case YAML::NodeType::Scalar:
      // "!" marks a quoted scalar.
      out = node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str" ? Json(node.Scalar())
                                                                       : PlainScalar(node.Scalar());
      return true;
    case YAML::NodeType::Sequence:
      out = Json::array();
      for (const YAML::Node& item : node) {
        if (!Convert(item, depth + 1, out.emplace_back())) return false;
      }
      return true;
    case YAML::NodeType::Map:
      out = Json::object();
      for (const auto& entry : node) {
        if (!entry.first.IsScalar() ||
            !Convert(entry.second, depth + 1, out[entry.first.Scalar()])) {
          return false;
        }
      }
      return true;
  }
  return false;
}

}  // namespace

Result<std::vector<Json>> ParseYamlStream(const std::string& text) {
  // yaml-cpp reports by exception; nothing of it leaves this function.
  try {
    std::vector<Json> documents;
    for (const YAML::Node& node : YAML::LoadAll(text)) {
      Json document;
      if (!Convert(node, 0, document)) {
        return Fail(
            Code::kInvalidArgument,
            fmt::format("YAML: nested deeper than {} or a key that is no scalar", kMaxYamlDepth));
      }
      documents.push_back(std::move(document));
    }
    return documents;
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalidArgument,
                fmt::format("YAML: line {}, column {}: {}", error.mark.line + 1,
                            error.mark.column + 1, error.msg));
  }
}

Result<Json> ParseYaml(const std::string& text) {
  auto documents = ParseYamlStream(text);
  if (!documents) return Fail(documents.error());
  if (documents->empty()) return Json();
  return std::move(documents->front());
}

}  // namespace sluice::webhook
