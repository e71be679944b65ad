#include "golden_case.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "sluice/core/json_access.h"
#include "sluice/yaml/injection_files.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

std::optional<Json> ReadJson(const std::string& path) {
  if (!fs::exists(path)) return std::nullopt;
  return Json::parse(ReadFile(path));
}

void WriteJson(const std::string& path, const Json& json) {
  std::ofstream(path) << json.dump(2) << "\n";
}

injection::Settings ReadSettings(const Json& json) {
  injection::Settings settings = injection::DefaultSettings();
  settings.disabled = FlagOf(json, "disabled");
  if (StringOf(json, "failurePolicy") == "Ignore") {
    settings.failure_policy = injection::FailurePolicy::kIgnore;
  }
  settings.automatic_sidecar = FlagOf(json, "automaticSidecar");
  settings.prefetcher_image = StringOf(json, "prefetcherImage");
  settings.sluice_image = StringOf(json, "sluiceImage");
  settings.serverless_platform_key = StringOf(json, "serverlessPlatformKey");
  if (StringOf(json, "placement") == "native-sidecar") {
    settings.placement = injection::SidecarPlacement::kNative;
  }
  if (const std::string profile = StringOf(json, "profile"); !profile.empty()) {
    auto applied = yaml::ApplyPluginProfile(profile, settings);
    if (!applied) throw std::runtime_error(applied.error().message);
  }
  return settings;
}

}  // namespace

std::string GoldenRoot() { return SLUICE_SOURCE_DIR "/test/golden/injection"; }

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw std::runtime_error("cannot read " + path);
  return text.str();
}

std::string GoldenCase::Directory() const { return GoldenRoot() + "/" + name; }

std::vector<std::string> GoldenCaseNames() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(GoldenRoot())) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

GoldenCase LoadGoldenCase(const std::string& name) {
  GoldenCase golden;
  golden.name = name;
  const std::string directory = golden.Directory();
  golden.review = ReadJson(directory + "/review.json");
  golden.http = ReadJson(directory + "/http.json");
  golden.settings = ReadSettings(ReadJson(directory + "/settings.json").value_or(Json::object()));
  golden.answer = ReadJson(directory + "/answer.json");
  golden.patched_pod = ReadJson(directory + "/patched_pod.json");
  constexpr std::array<std::string_view, 7> kKnown{
      "about.txt",   "review.json",      "http.json",     "settings.json",
      "answer.json", "patched_pod.json", "difference.txt"};
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string file = entry.path().filename();
    if (std::find(kKnown.begin(), kKnown.end(), file) == kKnown.end()) {
      golden.unknown_files.push_back(file);
    }
  }
  return golden;
}

bool UpdatesGolden() {
  const char* value = std::getenv("UPDATE_GOLDEN");
  return value != nullptr && std::string_view(value) == "1";
}

void WriteGolden(const GoldenCase& golden, const Json& answer,
                 const std::optional<Json>& patched_pod) {
  const std::string directory = golden.Directory();
  WriteJson(directory + "/answer.json", answer);
  if (patched_pod) {
    WriteJson(directory + "/patched_pod.json", *patched_pod);
  } else {
    fs::remove(directory + "/patched_pod.json");
  }
}

}  // namespace sluice::test
