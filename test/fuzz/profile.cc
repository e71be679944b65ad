// Any text as what an administrator configures: plugin profile, serverless table, YAML at all.
#include <string>
#include <string_view>

#include "sluice/yaml/injection_files.h"
#include "sluice/yaml/yaml.h"

#include "demand.h"
#include "judge_pod.h"

namespace {

using sluice::Json;
using sluice::test::Demand;
namespace injection = sluice::injection;
namespace yaml = sluice::yaml;

Json PodFor(const char* mode_label) {
  Json pod = Json::parse(R"({
    "metadata": {"name": "p", "labels": {"fluid.io/dataset.thin.sched": "required"},
                 "annotations": {"file-prefetcher.fluid.io/inject": "true",
                                 "file-prefetcher.fluid.io/image": "i:1"}},
    "spec": {
      "nodeSelector": {"type": "node"},
      "containers": [{"name": "app", "volumeMounts": [{"name": "a", "mountPath": "/a"},
                                                      {"name": "b", "mountPath": "/b"}]}],
      "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "alx2"}},
                  {"name": "b", "persistentVolumeClaim": {"claimName": "thin"}}]}})");
  if (mode_label != nullptr) pod["metadata"]["labels"][mode_label] = "true";
  return pod;
}

// Settings that cannot be compared by themselves, as text.
std::string Describe(const injection::Settings& settings) {
  std::string text;
  for (const auto* lists : {&settings.serverful, &settings.serverless}) {
    for (const auto plugin : lists->with_dataset) text += std::string(PluginName(plugin)) + " ";
    for (const auto plugin : lists->without_dataset) text += std::string(PluginName(plugin)) + "; ";
  }
  for (const auto& tier : settings.locality.preferred) {
    Demand(tier.weight >= 1 && tier.weight <= 100, "a weight is from 1 to 100", tier.name);
    text += tier.name + "=" + std::to_string(tier.weight) + " ";
  }
  for (const auto& name : settings.locality.required) text += name + " ";
  return text;
}

void FuzzSettings(const std::string& text) {
  const injection::Settings before = injection::DefaultSettings();
  injection::Settings settings = before;
  const bool profile = yaml::ApplyPluginProfile(text, settings).has_value();
  Demand(profile || Describe(settings) == Describe(before), "a bad profile changes nothing", text);
  const bool table = yaml::ApplyServerlessTable(text, settings).has_value();
  Demand(table || settings.serverless_nodes == before.serverless_nodes,
         "a bad table changes nothing", text);
  if (!profile && !table) return;
  for (const char* label : {"serverless.fluid.io/inject", "fuse.serverful.fluid.io/inject",
                            static_cast<const char*>(nullptr)}) {
    sluice::test::JudgePod(PodFor(label), label == nullptr ? "opted-in" : "oracle", settings);
  }
}

// What was read is text all over (dump throws otherwise), and reads back when it is written.
void FuzzRoundTrip(const Json& document) {
  constexpr std::size_t kLongest = 100'000;  // aliases make much of little
  const std::string json = document.dump();
  if (json.size() > kLongest) return;
  const std::string text = yaml::Format(document);
  const auto back = yaml::Parse(text);
  Demand(back && *back == document, "what is formatted reads back", json + "\n" + text);
  const auto documents = yaml::Split(text);
  Demand(documents && documents->size() == 1 && documents->front().value == document,
         "what is formatted is one document of a stream", json + "\n" + text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  FuzzSettings(text);
  if (const auto document = yaml::Parse(text)) FuzzRoundTrip(*document);
  if (const auto documents = yaml::Split(text)) {
    std::string whole;
    for (const auto& part : *documents) {
      whole += part.mark + part.text;
      const auto alone = yaml::Parse(part.text);
      Demand(alone && *alone == part.value, "a document's text is the document", part.text);
    }
    Demand(whole == text, "the documents make up the stream", text);
  }
  return 0;
}
