#include "yaml_json.h"

#include <stdexcept>

#include "sluice/platform/read_file.h"
#include "sluice/yaml/yaml.h"

namespace sluice::test {

std::vector<Json> LoadYaml(const std::filesystem::path& path) {
  auto text = platform::ReadFile(path.string());
  if (!text) throw std::runtime_error(text.error().message);
  auto documents = yaml::ParseStream(*text);
  if (!documents) throw std::runtime_error(path.string() + ": " + documents.error().message);
  return std::move(*documents);
}

std::string DumpYaml(const std::vector<Json>& documents) {
  std::string text;
  for (const Json& document : documents) {
    text += (text.empty() ? "" : "---\n") + yaml::Format(document);
  }
  return text;
}

}  // namespace sluice::test
