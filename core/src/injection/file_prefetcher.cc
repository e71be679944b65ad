#include "file_prefetcher.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "sluice/core/json_access.h"

#include "check_scripts.h"
#include "keys.h"
#include "pod_edit.h"
#include "prefetch_container.h"
#include "volume_names.h"

namespace sluice::injection {
namespace {

constexpr const char* kPrefetcher = "fluid-file-prefetcher";
constexpr const char* kStatusVolume = "fluid-file-prefetcher-status-vol";
constexpr std::string_view kScheme = "pvc://";
constexpr const char* kEveryDataset = "<ALL>";
constexpr const char* kDefaultTimeout = "120";

// What the application's containers wait for: the status file, or the time limit. The text is part
// of the compatible contract.
constexpr const char* kWaitCommand =
    "cnt=0; while [[ $cnt -lt $FILE_PREFETCHER_TIMEOUT_SECONDS ]]; do if [[ -e "
    "\"/tmp/fluid-file-prefetcher/status/prefetcher.status\" ]]; then exit 0; fi; cnt=$(expr $cnt "
    "+ 1); sleep 1; done; echo \"time out waiting for prefetching done\"; exit 1";

struct PrefetchConfig {
  std::string image;
  bool own_program = false;  // the image is Sluice's: no shell, but a program that ends by itself
  bool async = false;
  std::int32_t timeout_seconds = 0;
  Json extra_envs = Json::array();
};

// Linux gives a process no longer variable (MAX_ARG_STRLEN, with the name): a container with one
// would not start.
constexpr std::size_t kLongestFileList = (std::size_t{128} << 10) - 64;

struct FileList {
  std::string entries;               // joined by ";"
  std::vector<std::string> volumes;  // used by an entry, in order of first use
};

Error Invalid(const char* key, const std::string& problem) {
  return {Code::kInvalidArgument, fmt::format("annotation {}: {}", key, problem)};
}

std::optional<bool> ParseGoBool(std::string_view text) {
  constexpr std::array<std::string_view, 6> kTrues{"1", "t", "T", "TRUE", "true", "True"};
  constexpr std::array<std::string_view, 6> kFalses{"0", "f", "F", "FALSE", "false", "False"};
  if (std::find(kTrues.begin(), kTrues.end(), text) != kTrues.end()) return true;
  if (std::find(kFalses.begin(), kFalses.end(), text) != kFalses.end()) return false;
  return std::nullopt;
}

std::optional<std::int32_t> ParseInt32(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Json> ParseExtraEnvs(const std::string& text) {
  Json envs = Json::array();
  if (text.empty()) return envs;
  for (const std::string& item : Split(text, ' ')) {
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos || item.find('=', equals + 1) != std::string::npos) {
      return Fail(
          Invalid(keys::kPrefetchExtraEnvs,
                  fmt::format("\"{}\" is not NAME=VALUE; separate items by one space", item)));
    }
    envs.push_back(
        Json::object({{"name", item.substr(0, equals)}, {"value", item.substr(equals + 1)}}));
  }
  return envs;
}

// The annotation's text, which may be empty; `fallback` when there is none.
std::string AnnotationOr(const Json& pod, const char* key, const std::string& fallback) {
  const Json& annotations = ChildOf(ChildOf(pod, "metadata"), "annotations");
  return annotations.contains(key) ? StringOf(annotations, key) : fallback;
}

Result<PrefetchConfig> ReadConfig(const Json& pod, const Settings& settings) {
  PrefetchConfig config;
  config.image = AnnotationOf(pod, keys::kPrefetchImage);
  if (config.image.empty()) config.image = settings.prefetcher_image;
  if (config.image.empty()) {
    config.image = settings.sluice_image;
    config.own_program = true;
  }
  if (config.image.empty()) {
    return Fail(Invalid(keys::kPrefetchImage,
                        "no prefetcher image; set this annotation, or FILE_PREFETCHER_IMAGE of the "
                        "webhook to repo:tag"));
  }
  const std::string async_text = AnnotationOr(pod, keys::kPrefetchAsync, "false");
  const auto async = ParseGoBool(async_text);
  if (!async) {
    return Fail(
        Invalid(keys::kPrefetchAsync, fmt::format("\"{}\" is neither true nor false", async_text)));
  }
  config.async = *async;
  const std::string timeout_text = AnnotationOr(pod, keys::kPrefetchTimeout, kDefaultTimeout);
  const auto timeout = ParseInt32(timeout_text);
  if (!timeout) {
    return Fail(Invalid(keys::kPrefetchTimeout,
                        fmt::format("\"{}\" is not a 32-bit number of seconds", timeout_text)));
  }
  config.timeout_seconds = *timeout;
  auto envs = ParseExtraEnvs(AnnotationOf(pod, keys::kPrefetchExtraEnvs));
  if (!envs) return Fail(envs.error());
  config.extra_envs = std::move(*envs);
  return config;
}

Status AddEntries(const Json& pod, const std::string& claim, const std::string& below_volume,
                  FileList& list) {
  for (const std::string& volume : VolumesInOrder(pod, claim)) {
    if (!list.entries.empty()) list.entries += ';';
    list.entries += kPrefetchDataRoot + volume + below_volume;
    // Checked here: each item of the annotation stands for every volume of its claim.
    if (list.entries.size() > kLongestFileList) {
      return Fail(
          Invalid(keys::kPrefetchFileList,
                  fmt::format("names more than {} bytes of paths; name fewer, or directories",
                              kLongestFileList)));
    }
    if (std::find(list.volumes.begin(), list.volumes.end(), volume) == list.volumes.end()) {
      list.volumes.push_back(volume);
    }
  }
  return Ok();
}

Result<FileList> ReadFileList(const Json& pod, const DatasetUses& uses) {
  constexpr const char* kEverything = "/**";
  FileList list;
  const std::string text = AnnotationOr(pod, keys::kPrefetchFileList, kEveryDataset);
  if (text == kEveryDataset) {
    for (const auto& [claim, use] : uses) {
      auto added = AddEntries(pod, claim, kEverything, list);
      if (!added) return Fail(added.error());
    }
    return list;
  }
  for (const std::string& item : Split(text, ';')) {
    if (!item.starts_with(kScheme)) continue;
    const std::string path = item.substr(kScheme.size());
    const std::size_t slash = path.find('/');
    const std::string claim = path.substr(0, slash);
    if (!uses.contains(claim)) continue;
    const std::string below =
        slash == std::string::npos ? kEverything : CleanAbsolute(path.substr(slash));
    auto added = AddEntries(pod, claim, below, list);
    if (!added) return Fail(added.error());
  }
  return list;
}

Json StatusMount(const std::string& volume) {
  return Json::object({{"name", volume}, {"mountPath", kPrefetchStatusDirectory}});
}

Json MakeContainer(const Json& pod, const DatasetUses& uses, const PrefetchConfig& config,
                   const FileList& files, const std::string& status_volume) {
  Json envs = Json::array(
      {EnvironmentValue("FILE_PREFETCHER_FILE_LIST", files.entries),
       EnvironmentValue("FILE_PREFETCHER_ASYNC_PREFETCH", config.async ? "true" : "false"),
       EnvironmentValue("FILE_PREFETCHER_TIMEOUT_SECONDS",
                        std::to_string(config.timeout_seconds))});
  for (const Json& extra : config.extra_envs) envs.push_back(extra);
  Json mounts = Json::array();
  for (const std::string& volume : files.volumes) {
    mounts.push_back(Json::object({{"name", volume}, {"mountPath", kPrefetchDataRoot + volume}}));
  }
  mounts.push_back(StatusMount(status_volume));
  Json container = Json::object({{"name", kPrefetcher},
                                 {"image", config.image},
                                 {"env", std::move(envs)},
                                 {"volumeMounts", std::move(mounts)}});
  if (config.own_program) {
    RunPrefetchProgram(pod, uses, config.image, Restarts::kByPod, container);
  }
  if (!config.async) {
    container["lifecycle"] = Json::object(
        {{"postStart", config.own_program ? PrefetchWaitHook() : BashHook(kWaitCommand)}});
  }
  return container;
}

}  // namespace

Status InjectFilePrefetcher(const DatasetUses& uses, const Settings& settings, UniqueNames& unique,
                            Outcome& outcome) {
  Json& pod = *outcome.pod;
  if (AnnotationOf(pod, keys::kPrefetch) != keys::kTrue) return Ok();
  if (AnnotationOf(pod, keys::kPrefetchDone) == keys::kTrue) return Ok();
  auto config = ReadConfig(pod, settings);
  if (!config) return Fail(config.error());
  auto listed = ReadFileList(pod, uses);
  if (!listed) return Fail(listed.error());
  const FileList files = std::move(*listed);
  if (files.entries.empty()) {
    outcome.reasons.push_back({"prefetch_nothing_listed", ""});
    return Ok();
  }
  if (HasContainer(pod, kPrefetcher)) {
    return Fail(Code::kAlreadyExists,
                fmt::format("the pod has a container \"{}\" of its own; rename it, or remove the "
                            "annotation {}",
                            kPrefetcher, keys::kPrefetch));
  }
  SLUICE_TRY(volume, FreeVolumeName(pod, kStatusVolume, unique), "volume");
  if (config->async) {
    for (Json& container : ListIn(pod["spec"], "containers")) {
      if (!container.is_object() || StringOf(container, "name").starts_with("fluid-fuse")) continue;
      ListIn(container, "volumeMounts").push_back(StatusMount(volume));
    }
  }
  PlaceBehindSidecars(MakeContainer(pod, uses, *config, files, volume), "containers", pod);
  ListIn(pod["spec"], "volumes")
      .push_back(Json::object({{"name", volume}, {"emptyDir", Json::object()}}));
  SetAnnotation(pod, keys::kPrefetchDone, keys::kTrue);
  outcome.reasons.push_back({"file_prefetcher", ""});
  return Ok();
}

}  // namespace sluice::injection
