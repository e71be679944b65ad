#include "volume_names.h"

#include <algorithm>

#include <fmt/format.h>

#include "sluice/core/json_access.h"

namespace sluice::injection {
namespace {

bool IsTaken(const Json& pod, const std::string& name) {
  const Json& volumes = ItemsOf(ChildOf(pod, "spec"), "volumes");
  return std::any_of(volumes.begin(), volumes.end(),
                     [&](const Json& volume) { return StringOf(volume, "name") == name; });
}

// Puts `prefix` over the beginning of `name`; what would end in a dash loses it.
std::string Overwrite(const std::string& name, const std::string& prefix) {
  if (name.size() > prefix.size()) return prefix + name.substr(prefix.size());
  std::string replaced = prefix;
  if (name.size() < prefix.size()) replaced.pop_back();
  return replaced.ends_with('-') ? replaced.substr(0, replaced.size() - 1) : replaced;
}

}  // namespace

Result<std::string> FreeVolumeName(const Json& pod, const std::string& wanted,
                                   UniqueNames& unique) {
  constexpr int kTries = 101;
  if (!IsTaken(pod, wanted)) return wanted;
  std::string name = Overwrite(wanted, "fluid-");
  for (int i = 0; i < kTries && IsTaken(pod, name); ++i) {
    name = Overwrite(wanted, fmt::format("fluid-{}-", unique.Token()));
  }
  if (IsTaken(pod, name)) {
    return Fail(Code::kAlreadyExists,
                fmt::format("spec.volumes: no free name for the volume \"{}\"; rename the pod's "
                            "volumes that begin with \"fluid-\"",
                            wanted));
  }
  return name;
}

}  // namespace sluice::injection
