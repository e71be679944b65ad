#include "sluice/yaml/injection_files.h"

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/yaml/yaml.h"

namespace sluice::yaml {
namespace {

using injection::Plugin;

Error Wanted(const std::string& path, std::string_view what) {
  return {Code::kInvalidArgument, fmt::format("{}: must be {}", path, what)};
}

Result<std::vector<Plugin>> ReadPlugins(const Json& section, const char* key,
                                        const std::string& path) {
  constexpr std::string_view kWanted = "a list of plugin names, as [DatasetUsageInjector] is";
  if (!HasType(section, key, &Json::is_array)) return Fail(Wanted(path, kWanted));
  std::vector<Plugin> plugins;
  for (const Json& name : ItemsOf(section, key)) {
    if (!name.is_string()) return Fail(Wanted(path, kWanted));
    SLUICE_TRY(plugin, injection::PluginFromName(name.get<std::string>()), path);
    plugins.push_back(plugin);
  }
  return plugins;
}

Result<injection::PluginLists> ReadLists(const Json& plugins, const char* mode) {
  const std::string path = fmt::format("plugins.{}", mode);
  if (!HasType(plugins, mode, &Json::is_object)) {
    return Fail(Wanted(path, "a map with the lists withDataset and withoutDataset"));
  }
  const Json& section = ChildOf(plugins, mode);
  injection::PluginLists lists;
  auto with = ReadPlugins(section, "withDataset", path + ".withDataset");
  if (!with) return Fail(with.error());
  auto without = ReadPlugins(section, "withoutDataset", path + ".withoutDataset");
  if (!without) return Fail(without.error());
  lists.with_dataset = std::move(*with);
  lists.without_dataset = std::move(*without);
  return lists;
}

constexpr std::string_view kArgs = "pluginConfig NodeAffinityWithCache: args";

Result<injection::LocalityTier> ReadTier(const Json& tier, const std::string& path) {
  const auto weight = tier.is_object() ? tier.find("weight") : tier.end();
  const bool valid = tier.is_object() && !StringOf(tier, "name").empty() && weight != tier.end() &&
                     weight->is_number_integer() && weight->get<std::int64_t>() >= 1 &&
                     weight->get<std::int64_t>() <= 100;
  if (valid) return injection::LocalityTier{StringOf(tier, "name"), weight->get<int>()};
  return Fail(Wanted(path,
                     "a list of items with a name and a weight from 1 to 100, as {name: "
                     "fluid.io/node, weight: 100} is one"));
}

Result<injection::LocalityConfig> ReadLocality(const std::string& text) {
  injection::LocalityConfig config;
  SLUICE_TRY(document, Parse(text), kArgs);
  if (document.is_null()) return config;
  if (!document.is_object()) {
    return Fail(Wanted(std::string(kArgs), "a map with the lists preferred and required"));
  }
  const std::string preferred = fmt::format("{}.preferred", kArgs);
  if (!HasType(document, "preferred", &Json::is_array)) {
    return Fail(Wanted(preferred, "a list, as [{name: fluid.io/node, weight: 100}] is"));
  }
  for (const Json& item : ItemsOf(document, "preferred")) {
    auto tier = ReadTier(item, preferred);
    if (!tier) return Fail(tier.error());
    config.preferred.push_back(std::move(*tier));
  }
  const std::string required = fmt::format("{}.required", kArgs);
  constexpr std::string_view kNames = "a list of names, as [fluid.io/node] is";
  if (!HasType(document, "required", &Json::is_array)) return Fail(Wanted(required, kNames));
  for (const Json& name : ItemsOf(document, "required")) {
    if (!name.is_string()) return Fail(Wanted(required, kNames));
    config.required.push_back(name.get<std::string>());
  }
  return config;
}

// The text that configures a plugin; the last one counts. Empty when there is none.
Result<std::string> ArgsOf(Plugin plugin, const Json& document) {
  constexpr std::string_view kWanted =
      "a list, as [{name: NodeAffinityWithCache, args: \"required: [fluid.io/node]\"}] is";
  if (!HasType(document, "pluginConfig", &Json::is_array)) {
    return Fail(Wanted("pluginConfig", kWanted));
  }
  std::string args;
  for (const Json& config : ItemsOf(document, "pluginConfig")) {
    if (!config.is_object()) return Fail(Wanted("pluginConfig", kWanted));
    if (!HasType(config, "name", &Json::is_string)) {
      return Fail(Wanted("pluginConfig: name", "a plugin's name"));
    }
    const std::string name = StringOf(config, "name");
    if (!HasType(config, "args", &Json::is_string)) {
      return Fail(Wanted(fmt::format("pluginConfig {}: args", name),
                         "YAML as text, as \"required: [fluid.io/node]\" is"));
    }
    if (name == PluginName(plugin)) args = StringOf(config, "args");
  }
  return args;
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
  if (!HasType(document, "plugins", &Json::is_object)) {
    return Fail(Wanted("plugin profile: plugins", "a map with the keys serverful and serverless"));
  }
  SLUICE_TRY(serverful, ReadLists(ChildOf(document, "plugins"), "serverful"), "plugin profile");
  SLUICE_TRY(serverless, ReadLists(ChildOf(document, "plugins"), "serverless"), "plugin profile");
  SLUICE_TRY(args, ArgsOf(Plugin::kNodeAffinityWithCache, document), "plugin profile");
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
  SLUICE_CHECK(ReadLabelTable(document, "namespaceLabels", table.namespace_labels), "read");
  SLUICE_CHECK(ReadList(document, "taintKeys", table.taint_keys), "read");
  SLUICE_CHECK(ReadList(document, "nodeNamePrefixes", table.node_name_prefixes), "read");
  SLUICE_CHECK(ReadList(document, "schedulerNames", table.scheduler_names), "read");
  settings.serverless_nodes = std::move(table);
  return Ok();
}

}  // namespace sluice::yaml
