// sluice inject: what the admission webhook would make of the pods in files, without a pod made.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "sluice/kube/client.h"
#include "sluice/platform/read_file.h"
#include "sluice/ports/live_objects.h"
#include "sluice/yaml/file_objects.h"
#include "sluice/yaml/injection_files.h"

#include "change_text.h"
#include "inject_documents.h"
#include "verbs.h"

namespace sluice::cli {
namespace {

constexpr std::size_t kMostInputBytes = 64U << 20;
constexpr std::chrono::seconds kApiDeadline{15};

struct InjectArguments {
  std::vector<std::string> files;
  std::string ns;
  std::string state;
  std::string kubeconfig;
  std::string placement = "native-sidecar";
  std::string automatic_mode = "auto";
  std::string plugins_profile;
  std::string serverless_table;
  std::string platform_key;
  std::string prefetcher_image;
  std::string image;
  std::string color = "auto";
  bool diff = false;
};

// Where datasets, claims and namespaces are looked up.
struct State {
  platform::Metrics metrics;
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<ObjectSource> objects;
  std::string ns = "default";
};

// The flag's, or where kubectl looks: the first that exists; empty when there is none.
std::string KubeconfigPath(const InjectArguments& arguments) {
  if (!arguments.kubeconfig.empty()) return arguments.kubeconfig;
  const char* const list = std::getenv("KUBECONFIG");
  const char* const home = std::getenv("HOME");
  std::string paths = list == nullptr ? "" : list;
  if (paths.empty() && home != nullptr) paths = std::string(home) + "/.kube/config";
  for (std::size_t begin = 0; begin < paths.size();) {
    const std::size_t end = std::min(paths.find(':', begin), paths.size());
    std::string path = paths.substr(begin, end - begin);
    if (!path.empty() && access(path.c_str(), R_OK) == 0) return path;
    begin = end + 1;
  }
  return "";
}

Result<std::unique_ptr<State>> OpenState(const InjectArguments& arguments) {
  auto state = std::make_unique<State>();
  if (!arguments.state.empty()) {
    SLUICE_TRY(objects, yaml::FileObjects::Load(arguments.state), "--state");
    state->objects = std::move(objects);
    return state;
  }
  auto config = kube::FindConfig(KubeconfigPath(arguments));
  if (!config) {
    return Fail(Code::kUnavailable, fmt::format("--state names no file and no cluster is found: {}",
                                                config.error().message));
  }
  state->ns = config->ns;
  SLUICE_TRY(
      cluster,
      kube::Connect(std::move(*config), {.user_agent = "sluice-inject", .deadline = kApiDeadline},
                    state->metrics),
      "API client");
  state->objects = std::make_unique<LiveObjects>(*cluster);
  state->cluster = std::move(cluster);
  return state;
}

Result<std::string> ReadInput(const std::string& file) {
  if (file != "-") return platform::ReadFile(file, kMostInputBytes);
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

Result<injection::Settings> ReadSettings(const InjectArguments& arguments) {
  injection::Settings settings = injection::DefaultSettings();
  settings.placement = arguments.placement == "native-sidecar"
                           ? injection::SidecarPlacement::kNative
                           : injection::SidecarPlacement::kLegacy;
  settings.automatic_sidecar = arguments.automatic_mode == "sidecar";
  settings.serverless_platform_key = arguments.platform_key;
  settings.prefetcher_image = arguments.prefetcher_image;
  settings.sluice_image = arguments.image;
  if (!arguments.plugins_profile.empty()) {
    SLUICE_TRY(text, platform::ReadFile(arguments.plugins_profile), "--plugins-profile");
    SLUICE_CHECK(yaml::ApplyPluginProfile(text, settings), arguments.plugins_profile);
  }
  if (!arguments.serverless_table.empty()) {
    SLUICE_TRY(text, platform::ReadFile(arguments.serverless_table), "--serverless-table");
    SLUICE_CHECK(yaml::ApplyServerlessTable(text, settings), arguments.serverless_table);
  }
  return settings;
}

void PrintDiff(const InjectedStream& stream, bool colour) {
  for (const InjectedObject& object : stream.objects) {
    std::cout << fmt::format(
        "{}: {} ({})\n", object.name,
        object.changes.empty() ? "unchanged" : injection::ModeName(object.mode), object.why);
    for (const RuleChange& change : object.changes) {
      std::cout << "  " << change.rule << '\n' << ChangeText(change.before, change.after, colour);
    }
  }
}

// One stream of all; what several of them mount comes once, at the end.
std::string Joined(std::vector<InjectedStream> streams) {
  std::string text;
  std::map<std::string, Json> config_maps;
  const auto begin_document = [&] {
    if (!text.empty()) text += text.back() == '\n' ? "---\n" : "\n---\n";
  };
  for (InjectedStream& stream : streams) {
    if (!stream.text.starts_with("---")) begin_document();
    text += stream.text;
    config_maps.merge(stream.config_maps);
  }
  for (const auto& [name, config_map] : config_maps) {
    begin_document();
    text += yaml::Format(config_map);
  }
  return text;
}

void PrintWarnings(const InjectedStream& stream) {
  for (const InjectedObject& object : stream.objects) {
    for (const std::string& warning : object.warnings) {
      std::cerr << fmt::format("sluice: warning: {}: {}\n", object.name, warning);
    }
  }
}

Status InjectFiles(const InjectArguments& arguments) {
  SLUICE_TRY(settings, ReadSettings(arguments), "settings");
  std::vector<std::string> texts;
  for (const std::string& file : arguments.files) {
    SLUICE_TRY(text, ReadInput(file), "input");
    texts.push_back(std::move(text));
  }
  SLUICE_TRY(state, OpenState(arguments), "state");
  const injection::Lookup lookup = [&](const ResourceType& type, const ObjectKey& key) {
    return state->objects->Find(type, key);
  };
  const InjectOptions options{.ns = arguments.ns.empty() ? state->ns : arguments.ns};
  std::vector<InjectedStream> streams;  // all or nothing: printed when the last has succeeded
  for (std::size_t i = 0; i < texts.size(); ++i) {
    SLUICE_TRY(stream, InjectStream(texts[i], lookup, settings, options), arguments.files[i]);
    streams.push_back(std::move(stream));
  }
  const bool colour =
      arguments.color == "always" || (arguments.color == "auto" && isatty(STDOUT_FILENO) == 1);
  for (const InjectedStream& stream : streams) PrintWarnings(stream);
  if (arguments.diff) {
    for (const InjectedStream& stream : streams) PrintDiff(stream, colour);
  } else {
    std::cout << Joined(std::move(streams));
  }
  return Ok();
}

const char* InjectNextStep(Code code) {
  switch (code) {
    case Code::kConflict:
      return "nothing was printed; mend the object, or see kubectl get datasets,pvc";
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      return "give --kubeconfig FILE, or --state FILE; sluice inject --help shows how to make one";
    default:
      return "sluice inject --help shows examples";
  }
}

void AddInjectOptions(CLI::App& verb, InjectArguments& arguments) {
  verb.add_option("-f,--filename", arguments.files, "File of objects, YAML or JSON; - is stdin")
      ->required();
  verb.add_option("-n,--namespace", arguments.ns, "Of objects that name none");
  verb.add_flag("--diff", arguments.diff, "Show what changes, and which rule changes it");
  verb.add_option("--color", arguments.color, "Of --diff")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  auto* state = verb.add_option("--state", arguments.state,
                                "File of the cluster's objects, no cluster asked");
  verb.add_option("--kubeconfig", arguments.kubeconfig, "Cluster to ask; default: $KUBECONFIG")
      ->excludes(state);
  verb.add_option("--placement", arguments.placement,
                  "Sidecars as the cluster has them: native-sidecar from Kubernetes 1.29 on")
      ->check(CLI::IsMember({"native-sidecar", "legacy"}))
      ->capture_default_str();
  verb.add_option("--automatic-mode", arguments.automatic_mode,
                  "Of pods in namespaces that opted in: by the pod, or always a sidecar")
      ->check(CLI::IsMember({"auto", "sidecar"}))
      ->capture_default_str();
  verb.add_option("--plugins-profile", arguments.plugins_profile,
                  "The profile of ConfigMap webhook-plugins");
  verb.add_option("--serverless-table", arguments.serverless_table,
                  "How to recognise pods that are bound for serverless nodes");
  verb.add_option("--platform-key", arguments.platform_key,
                  "Deprecated label of pods whose value is a sidecar's platform "
                  "(KEY_SERVERLESS_PLATFORM)");
  verb.add_option("--prefetcher-image", arguments.prefetcher_image,
                  "Image of prefetchers whose pods name none");
  verb.add_option("--image", arguments.image, "Sluice's image, for pods that are prefetched for");
  verb.footer(
      "Examples:\n"
      "  sluice inject -f deployment.yaml --diff\n"
      "  kubectl get ns,pv,pvc,ds,podtemplates,$(kubectl api-resources --api-group data.fluid.io "
      "-o name | paste -sd,) -A -o json > state.json\n"
      "  helm template chart | sluice inject -f - --state state.json -n prod > injected.yaml\n");
}

}  // namespace

void AddInject(CLI::App& app, int& exit_status) {
  auto arguments = std::make_shared<InjectArguments>();
  CLI::App* const verb =
      app.add_subcommand("inject", "Show or write what the admission webhook makes of pods");
  AddInjectOptions(*verb, *arguments);
  verb->callback([arguments, &exit_status] {
    const Status done = InjectFiles(*arguments);
    exit_status = done ? kOk : Report(done.error(), InjectNextStep(done.error().code));
  });
}

}  // namespace sluice::cli
