#include "json_mutator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "sluice/core/resource.h"

#include "keys.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace sluice::test {
namespace {

namespace keys = injection::keys;
using Random = std::minstd_rand;

constexpr std::array kWords{keys::kServerlessInject,
                            keys::kServerfulInject,
                            keys::kDeprecatedSidecarInject,
                            keys::kUnprivilegedInject,
                            keys::kEnableInjection,
                            keys::kInjectDone,
                            keys::kCacheDirInject,
                            keys::kFusePostStart,
                            keys::kAppPostStart,
                            keys::kManagedBy,
                            "fluid.io/dataset.jfs.sched",
                            keys::kSchedRequired,
                            keys::kPlatform,
                            keys::kHostPathMode,
                            "random-suffix",
                            "fixed",
                            keys::kSkipPrecheck,
                            keys::kDatasetsInUse,
                            keys::kScrape,
                            keys::kPrefetch,
                            keys::kPrefetchFileList,
                            "pvc://jfs/a/../*;pvc://thin",
                            keys::kPrefetchAsync,
                            keys::kPrefetchTimeout,
                            keys::kPrefetchExtraEnvs,
                            keys::kPrefetchImage,
                            keys::kPrefetchDone,
                            keys::kSluicePrefetch,
                            keys::kSluicePrefetchDone,
                            "platform",
                            "true",
                            "false",
                            "labels",
                            "annotations",
                            "volumes",
                            "persistentVolumeClaim",
                            "claimName",
                            "readOnly",
                            "initContainers",
                            "containers",
                            "volumeMounts",
                            "mountPath",
                            "mountPropagation",
                            "lifecycle",
                            "postStart",
                            "restartPolicy",
                            "Always",
                            "affinity",
                            "nodeAffinity",
                            "nodeSelector",
                            "nodeSelectorTerms",
                            "matchExpressions",
                            "requiredDuringSchedulingIgnoredDuringExecution",
                            "preferredDuringSchedulingIgnoredDuringExecution",
                            "topology.kubernetes.io/zone",
                            "tolerations",
                            "virtual-kubelet.io/provider",
                            "virtual-kubelet",
                            "type",
                            "name",
                            "generateName",
                            "jfs",
                            "jfs2",
                            "alx",
                            "alx2",
                            "jindo",
                            "thin",
                            "efc",
                            "model",
                            "outer",
                            "plain",
                            "refjfs",
                            "wrapped",
                            "fluid-fuse-0",
                            "fluid-fuse-1",
                            "init-fluid-fuse-0",
                            "fluid-file-prefetcher",
                            "fluid-file-prefetcher-status-vol",
                            "check-fluid-mount-ready",
                            "default-check-mount-0",
                            "thin-fuse-mount-0",
                            "mem-0"};

std::size_t Below(Random& random, std::size_t bound) { return random() % bound; }

const char* Word(Random& random) { return kWords[Below(random, kWords.size())]; }

Json Scalar(Random& random) {
  switch (Below(random, 9)) {
    case 0:
      return nullptr;
    case 1:
      return true;
    case 2:
      return static_cast<int>(random() % 5) - 1;
    case 3:
      return 1.5;
    case 4:
      return "";
    case 5:
      return Json::array();
    case 6:
      return Json::object();
    default:
      return Word(random);
  }
}

void Collect(Json& value, std::vector<Json*>& nodes) {
  nodes.push_back(&value);
  if (!value.is_structured()) return;
  for (Json& item : value) Collect(item, nodes);
}

void EditArray(Json& list, const Json& other, Random& random) {
  auto& items = list.get_ref<Json::array_t&>();
  const std::size_t at = Below(random, items.size() + 1);
  const auto place = items.begin() + static_cast<std::ptrdiff_t>(at);
  if (at == items.size()) {
    items.insert(place, items.empty() ? other : items[Below(random, items.size())]);
  } else if (Below(random, 2) == 0) {
    items.erase(place);
  } else {
    std::swap(items[at], items[Below(random, items.size())]);
  }
}

void EditObject(Json& object, const Json& other, Random& random) {
  if (object.empty() || Below(random, 3) != 0) {
    object[Word(random)] = Below(random, 2) == 0 ? Scalar(random) : other;
    return;
  }
  auto member = object.begin();
  std::advance(member, Below(random, object.size()));
  const Json value = *member;
  object.erase(member);
  if (Below(random, 2) == 0) object[Word(random)] = value;  // under another name
}

void Edit(Json& document, Random& random) {
  std::vector<Json*> nodes;
  Collect(document, nodes);
  Json& target = *nodes[Below(random, nodes.size())];
  const Json other = *nodes[Below(random, nodes.size())];  // a copy: it may hold the target
  const std::size_t what = Below(random, 4);
  if (target.is_array() && what != 0) {
    EditArray(target, other, random);
  } else if (target.is_object() && what != 0) {
    EditObject(target, other, random);
  } else if (what == 1) {
    target = other;
  } else {
    target = Scalar(random);
  }
}

// Brackets, whether in strings or not: enough to keep recursion shallow.
bool IsShallow(const std::uint8_t* data, std::size_t size) {
  constexpr std::ptrdiff_t kDeepest = 500;
  return std::count_if(data, data + size, [](std::uint8_t c) { return c == '[' || c == '{'; }) <
         kDeepest;
}

}  // namespace

std::size_t MutateJson(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed,
                       std::size_t prefix) {
  Random random(seed);
  if (size > prefix && Below(random, 8) != 0 && IsShallow(data + prefix, size - prefix)) {
    Json document = Json::parse(data + prefix, data + size, nullptr, false);
    if (!document.is_discarded()) {
      for (std::size_t n = Below(random, 4) + 1; n > 0; --n) Edit(document, random);
      const std::string text = document.dump(-1, ' ', false, Json::error_handler_t::replace);
      if (prefix + text.size() <= max_size) {
        for (std::size_t i = 0; i < prefix && Below(random, 4) == 0; ++i) {
          data[i] = static_cast<std::uint8_t>(random());
        }
        std::memcpy(data + prefix, text.data(), text.size());
        return prefix + text.size();
      }
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}

}  // namespace sluice::test
