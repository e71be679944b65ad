#include "sluice/yaml/injection_files.h"

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/yaml/yaml.h"

namespace sluice::yaml {
namespace {

using injection::Plugin;

Result<std::vector<Plugin>> ReadPlugins(const Json& section, const std::string& path) {
  std::vector<Plugin> plugins;
  const auto key = path.substr(path.rfind('.') + 1);
  for (const Json& name : ItemsOf(section, key)) {
    if (!name.is_string()) {
      return Fail(Code::kInvalidArgument, path + ": every item must be a plugin's name");
    }
    SLUICE_TRY(plugin, injection::PluginFromName(name.get<std::string>()), path);
    plugins.push_back(plugin);
  }
  return plugins;
}

Result<injection::PluginLists> ReadLists(const Json& plugins, const char* mode) {
  const Json& section = ChildOf(plugins, mode);
  injection::PluginLists lists;
  SLUICE_TRY(with, ReadPlugins(section, fmt::format("plugins.{}.withDataset", mode)), "profile");
  SLUICE_TRY(without, ReadPlugins(section, fmt::format("plugins.{}.withoutDataset", mode)),
             "profile");
  lists.with_dataset = std::move(with);
  lists.without_dataset = std::move(without);
  return lists;
}

Result<injection::LocalityConfig> ReadLocality(const std::string& text) {
  injection::LocalityConfig config;
  SLUICE_TRY(document, Parse(text), "pluginConfig NodeAffinityWithCache: args");
  for (const Json& tier : ItemsOf(document, "preferred")) {
    const auto weight = tier.is_object() ? tier.find("weight") : tier.end();
    const bool valid = tier.is_object() && !StringOf(tier, "name").empty() &&
                       weight != tier.end() && weight->is_number_integer() &&
                       weight->get<std::int64_t>() >= 1 && weight->get<std::int64_t>() <= 100;
    if (!valid) {
      return Fail(Code::kInvalidArgument,
                  "pluginConfig NodeAffinityWithCache: args.preferred: every item needs a name and "
                  "a weight from 1 to 100");
    }
    config.preferred.push_back({StringOf(tier, "name"), weight->get<int>()});
  }
  for (const Json& name : ItemsOf(document, "required")) {
    if (!name.is_string()) {
      return Fail(Code::kInvalidArgument,
                  "pluginConfig NodeAffinityWithCache: args.required: every item must be a name");
    }
    config.required.push_back(name.get<std::string>());
  }
  return config;
}

Result<std::vector<std::string>> ReadStrings(const Json& list, const std::string& path) {
  if (!list.is_array() && !list.is_null()) {
    return Fail(Code::kInvalidArgument, path + ": must be a list");
  }
  std::vector<std::string> strings;
  for (const Json& item : list) {
    if (!item.is_string()) {
      return Fail(Code::kInvalidArgument, path + ": every item must be a string");
    }
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

Status ReadLabelTable(const Json& document, const char* key,
                      std::map<std::string, std::vector<std::string>>& table) {
  if (!document.contains(key)) return Ok();
  if (!document[key].is_object() && !document[key].is_null()) {
    return Fail(Code::kInvalidArgument, fmt::format("{}: must be a map of lists", key));
  }
  table.clear();
  for (const auto& [label, values] : ChildOf(document, key).items()) {
    SLUICE_TRY(strings, ReadStrings(values, fmt::format("{}.{}", key, label)), "serverless table");
    table[label] = std::move(strings);
  }
  return Ok();
}

Status ReadList(const Json& document, const char* key, std::vector<std::string>& list) {
  if (!document.contains(key)) return Ok();
  SLUICE_TRY(strings, ReadStrings(document[key], key), "serverless table");
  list = std::move(strings);
  return Ok();
}

}  // namespace

Status ApplyPluginProfile(const std::string& text, injection::Settings& settings) {
  SLUICE_TRY(document, Parse(text), "plugin profile");
  if (!document.is_object()) {
    return Fail(Code::kInvalidArgument, "plugin profile: must be a map with the key plugins");
  }
  SLUICE_TRY(serverful, ReadLists(ChildOf(document, "plugins"), "serverful"), "plugin profile");
  SLUICE_TRY(serverless, ReadLists(ChildOf(document, "plugins"), "serverless"), "plugin profile");
  std::string args;
  for (const Json& config : ItemsOf(document, "pluginConfig")) {
    if (StringOf(config, "name") == PluginName(Plugin::kNodeAffinityWithCache)) {
      args = StringOf(config, "args");  // the last one wins
    }
  }
  SLUICE_TRY(locality, ReadLocality(args), "plugin profile");
  settings.serverful = std::move(serverful);
  settings.serverless = std::move(serverless);
  settings.locality = std::move(locality);
  return Ok();
}

Status ApplyServerlessTable(const std::string& text, injection::Settings& settings) {
  SLUICE_TRY(document, Parse(text), "serverless table");
  if (!document.is_object()) return Fail(Code::kInvalidArgument, "serverless table: must be a map");
  injection::ServerlessTable table = settings.serverless_nodes;
  SLUICE_CHECK(ReadLabelTable(document, "nodeLabels", table.node_labels), "read");
  SLUICE_CHECK(ReadLabelTable(document, "podLabels", table.pod_labels), "read");
  SLUICE_CHECK(ReadList(document, "taintKeys", table.taint_keys), "read");
  SLUICE_CHECK(ReadList(document, "nodeNamePrefixes", table.node_name_prefixes), "read");
  SLUICE_CHECK(ReadList(document, "schedulerNames", table.scheduler_names), "read");
  settings.serverless_nodes = std::move(table);
  return Ok();
}

}  // namespace sluice::yaml
