#include "yaml_json.h"

#include <yaml-cpp/yaml.h>

namespace sluice::test {
namespace {

Json FromYaml(const YAML::Node& node) {
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const YAML::Node& item : node) list.push_back(FromYaml(item));
    return list;
  }
  if (node.IsMap()) {
    Json object = Json::object();
    for (const auto& entry : node) object[entry.first.Scalar()] = FromYaml(entry.second);
    return object;
  }
  if (!node.IsScalar() || node.IsNull()) return {};
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  // What YAML and JSON both take for a number, true or false; all else is a string.
  Json value = Json::parse(text, nullptr, false);
  return value.is_primitive() && !value.is_discarded() && !value.is_string() ? value : Json(text);
}

void ToYaml(const Json& value, YAML::Emitter& out) {
  if (value.is_object()) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginMap;
    for (const auto& [key, item] : value.items()) {
      out << YAML::Key << key << YAML::Value;
      ToYaml(item, out);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const Json& item : value) ToYaml(item, out);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    const Json plain = Json::parse(value.get_ref<const std::string&>(), nullptr, false);
    // A string that reads like a number or a truth value keeps its quotes.
    if (!plain.is_discarded()) out << YAML::DoubleQuoted;
    out << value.get<std::string>();
  } else {
    out << value.dump();
  }
}

}  // namespace

std::vector<Json> LoadYaml(const std::filesystem::path& path) {
  std::vector<Json> documents;
  for (const YAML::Node& node : YAML::LoadAllFromFile(path.string())) {
    if (node.IsMap()) documents.push_back(FromYaml(node));
  }
  return documents;
}

std::string DumpYaml(const std::vector<Json>& documents) {
  std::string text;
  for (const Json& document : documents) {
    YAML::Emitter out;
    ToYaml(document, out);
    text += (text.empty() ? "" : "---\n") + std::string(out.c_str()) + "\n";
  }
  return text;
}

}  // namespace sluice::test
