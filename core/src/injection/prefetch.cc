#include "prefetch.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sluice/core/json_access.h"
#include "sluice/core/path_pattern.h"

#include "keys.h"
#include "pod_edit.h"
#include "prefetch_container.h"
#include "volume_names.h"

namespace sluice::injection {
namespace {

constexpr const char* kPrefetchContainer = "sluice-prefetch";
constexpr const char* kStatusVolumeWanted = "sluice-prefetch-status";
constexpr std::string_view kClaimScheme = "pvc://";
constexpr const char* kWholeVolume = "/**";

// Models are read for minutes: 340 GB at 300 MB/s are 19. The application starts anyway when it is
// over; until then it would only wait for the same bytes by itself. In legacy placement a hook
// holds the application back, and the kubelet can do nothing else with the pod meanwhile, so that
// it cannot even be deleted: less is right there.
constexpr int kDefaultSeconds = 3600;
constexpr int kDefaultLegacySeconds = 600;
constexpr int kMostSeconds = 7 * 24 * 3600;

// The program, as a probe, answers within 240 s, and not before two seconds when it says
// no. Only a program that does not answer at all comes to the threshold.
constexpr int kProbeTimeoutSeconds = 300;
constexpr int kLeastProbeSeconds = 2;
constexpr int kSpareProbes = 30;

Error BadAnnotation(const char* key, const std::string& problem) {
  return {Code::kInvalidArgument, fmt::format("annotation {}: {}", key, problem)};
}

std::string Trimmed(std::string_view text) {
  constexpr const char* kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

bool HasAnnotation(const Json& pod, const char* key) {
  return ChildOf(ChildOf(pod, "metadata"), "annotations").contains(key);
}

// Words that people write for a truth and that hardly are names of files.
bool LooksLikeATruth(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::string_view, 12> kWords{"true", "false", "yes", "no", "on", "off",
                                                    "1",    "0",     "t",   "f",  "y",  "n"};
  return std::find(kWords.begin(), kWords.end(), text) != kWords.end();
}

// Kubernetes replaces $(NAME) in values of environment variables; "$$" is a plain dollar.
std::string WithoutReferences(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    escaped += c;
    if (c == '$') escaped += '$';
  }
  return escaped;
}

class PrefetchAnnotations {
 public:
  explicit PrefetchAnnotations(const PrefetchInput& input) : input_(input) {}

  Status Read() {
    if (auto status = ReadMode(); !status) return status;
    if (auto status = ReadLimit(); !status) return status;
    return ReadItems();
  }

  [[nodiscard]] bool IsGate() const { return gate_; }
  [[nodiscard]] int Limit() const { return limit_; }
  [[nodiscard]] const std::vector<std::string>& Entries() const { return entries_; }
  [[nodiscard]] const std::vector<std::string>& Volumes() const { return volumes_; }

 private:
  Status ReadMode() {
    const std::string mode = AnnotationOf(input_.original, keys::kSluicePrefetchMode);
    gate_ = mode != "async";
    if (mode == "gate" || mode == "async") return Ok();
    if (!HasAnnotation(input_.original, keys::kSluicePrefetchMode)) return Ok();
    return Fail(BadAnnotation(keys::kSluicePrefetchMode,
                              fmt::format("\"{}\" is neither gate nor async", mode)));
  }

  Status ReadLimit() {
    limit_ = input_.settings.placement == SidecarPlacement::kNative ? kDefaultSeconds
                                                                    : kDefaultLegacySeconds;
    if (!HasAnnotation(input_.original, keys::kSluicePrefetchTimeout)) return Ok();
    const std::string text = AnnotationOf(input_.original, keys::kSluicePrefetchTimeout);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit_);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole && limit_ >= 1 && limit_ <= kMostSeconds) return Ok();
    return Fail(BadAnnotation(
        keys::kSluicePrefetchTimeout,
        fmt::format("\"{}\" is not a number of seconds from 1 to {}", text, kMostSeconds)));
  }

  Status ReadItems() {
    const std::string text = Trimmed(AnnotationOf(input_.original, keys::kSluicePrefetch));
    if (text == keys::kTrue) {
      AddBelowEveryVolume(kWholeVolume);
      return Ok();
    }
    for (const std::string& part : Split(text, ';')) {
      const std::string item = Trimmed(part);
      if (item.empty()) continue;
      if (auto status = ReadItem(item); !status) return status;
    }
    if (!entries_.empty()) return Ok();
    return Fail(BadAnnotation(keys::kSluicePrefetch,
                              "is empty; write \"true\" or files, like *.safetensors"));
  }

  Status ReadItem(const std::string& item) {
    if (LooksLikeATruth(item)) {
      return Fail(
          BadAnnotation(keys::kSluicePrefetch,
                        fmt::format("\"{0}\" is none of \"true\", \"false\" and a list of files; a "
                                    "file of that name is ./{0}",
                                    item)));
    }
    if (!item.starts_with(kClaimScheme)) {
      if (item.find("://") == std::string::npos) return AddPattern("", item);
      return Fail(BadAnnotation(
          keys::kSluicePrefetch,
          fmt::format("\"{}\": other addresses than pvc://CLAIM/FILES are not known", item)));
    }
    const std::string path = item.substr(kClaimScheme.size());
    const std::size_t slash = path.find('/');
    const std::string claim = path.substr(0, slash);
    if (!input_.uses.contains(claim)) {
      return Fail(BadAnnotation(
          keys::kSluicePrefetch,
          fmt::format("\"{}\": the pod has no volume of a dataset's claim {}", item, claim)));
    }
    return AddPattern(claim, slash == std::string::npos ? "" : path.substr(slash));
  }

  // Below the volume of the claim, or of every claim.
  Status AddPattern(const std::string& claim, const std::string& glob) {
    if (auto pattern = PathPattern::Parse(glob); !pattern) {
      return Fail(BadAnnotation(keys::kSluicePrefetch, pattern.error().message));
    }
    const std::string clean = CleanAbsolute(glob);
    const std::string below = clean.empty() ? kWholeVolume : clean;
    if (claim.empty()) {
      AddBelowEveryVolume(below);
    } else {
      AddBelowVolume(claim, below);
    }
    return Ok();
  }

  void AddBelowEveryVolume(const std::string& below) {
    for (const auto& [claim, use] : input_.uses) AddBelowVolume(claim, below);
  }

  // A pod may have several volumes of a claim; one of them shows all that there is.
  void AddBelowVolume(const std::string& claim, const std::string& below) {
    const std::vector<std::string> volumes = VolumesInOrder(input_.original, claim);
    if (volumes.empty()) return;
    const auto add = [](std::vector<std::string>& list, const std::string& text) {
      if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
    };
    add(entries_, kPrefetchDataRoot + volumes.front() + below);
    add(volumes_, volumes.front());
  }

  const PrefetchInput& input_;
  bool gate_ = true;
  int limit_ = 0;
  std::vector<std::string> entries_;
  std::vector<std::string> volumes_;
};

Json PrefetchMounts(const PrefetchAnnotations& request, const std::string& status_volume) {
  Json mounts = Json::array();
  for (const std::string& volume : request.Volumes()) {
    mounts.push_back(Json::object({{"name", volume},
                                   {"mountPath", kPrefetchDataRoot + volume},
                                   {"mountPropagation", "HostToContainer"},
                                   {"readOnly", true}}));
  }
  mounts.push_back(
      Json::object({{"name", status_volume}, {"mountPath", kPrefetchStatusDirectory}}));
  return mounts;
}

Json PrefetchGate(int limit) {
  return Json::object({{"exec", Json::object({{"command", Json::array({"/usr/bin/sluice-prefetch",
                                                                       "--status", "--probe"})}})},
                       {"periodSeconds", 1},
                       {"timeoutSeconds", kProbeTimeoutSeconds},
                       {"failureThreshold", limit / kLeastProbeSeconds + kSpareProbes}});
}

Json MakePrefetchContainer(const PrefetchInput& input, const PrefetchAnnotations& request,
                           const std::string& status_volume) {
  const bool native = input.settings.placement == SidecarPlacement::kNative;
  Json container = Json::object(
      {{"name", kPrefetchContainer},
       {"env", Json::array({EnvironmentValue("FILE_PREFETCHER_FILE_LIST",
                                             WithoutReferences(fmt::format(
                                                 "{}", fmt::join(request.Entries(), ";")))),
                            EnvironmentValue("FILE_PREFETCHER_TIMEOUT_SECONDS",
                                             std::to_string(request.Limit()))})},
       // Four buffers of 16 MiB, and room for what the kernel caches on the way.
       {"resources", Json::object({{"requests", Json::object({{"cpu", "10m"}, {"memory", "32Mi"}})},
                                   {"limits", Json::object({{"memory", "256Mi"}})}})},
       {"volumeMounts", PrefetchMounts(request, status_volume)}});
  RunPrefetchProgram(input.original, input.uses, input.settings.sluice_image,
                     native ? Restarts::kByKubelet : Restarts::kByPod, container);
  if (native) {
    container["restartPolicy"] = "Always";
    if (request.IsGate()) container["startupProbe"] = PrefetchGate(request.Limit());
  } else if (request.IsGate()) {
    container["lifecycle"] = Json::object({{"postStart", PrefetchWaitHook()}});
  }
  return container;
}

}  // namespace

bool WantsPrefetch(const Json& pod) {
  return HasAnnotation(pod, keys::kSluicePrefetch) &&
         Trimmed(AnnotationOf(pod, keys::kSluicePrefetch)) != "false";
}

Status InjectPrefetch(const PrefetchInput& input, Outcome& outcome) {
  Json& pod = *outcome.pod;
  if (AnnotationOf(pod, keys::kSluicePrefetchDone) == keys::kTrue) return Ok();
  PrefetchAnnotations request(input);
  if (auto status = request.Read(); !status) return status;
  if (input.settings.sluice_image.empty()) {
    return Fail(BadAnnotation(
        keys::kSluicePrefetch,
        "the image with sluice-prefetch is not known; set SLUICE_IMAGE of the webhook "
        "(the chart does), or sluice inject --image"));
  }
  if (HasContainer(pod, kPrefetchContainer)) {
    return Fail(BadAnnotation(
        keys::kSluicePrefetch,
        fmt::format("the pod has a container {} of its own; rename it", kPrefetchContainer)));
  }
  SLUICE_TRY(volume, FreeVolumeName(pod, kStatusVolumeWanted, input.unique), "volume");
  const bool native = input.settings.placement == SidecarPlacement::kNative;
  PlaceBehindSidecars(MakePrefetchContainer(input, request, volume),
                      native ? "initContainers" : "containers", pod);
  // In memory: a full disk must not keep the application from starting.
  ListIn(pod["spec"], "volumes")
      .push_back(
          Json::object({{"name", volume},
                        {"emptyDir", Json::object({{"medium", "Memory"}, {"sizeLimit", "1Mi"}})}}));
  SetAnnotation(pod, keys::kSluicePrefetchDone, keys::kTrue);
  outcome.reasons.push_back({"prefetch", request.IsGate() ? "gate" : "async"});
  return Ok();
}

}  // namespace sluice::injection
