#include <algorithm>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/quantity.h"

#include "plan/plan_parts.h"

namespace sluice::plan {
namespace {

constexpr const char* kClientOptions = "directory-mode, file-mode, memory-budget, pin";

Status ReadOption(const std::string& name, const std::string& value, ClientOptions& options,
                  std::vector<std::string>& notes) {
  const std::string field = "spec.fuse.options." + name;
  if (name == "memory-budget") {
    SLUICE_TRY(bytes, ParseBytes(value), field);
    options.memory_budget = std::max(bytes, kSmallestBudget);
  } else if (name == "file-mode" || name == "directory-mode") {
    SLUICE_TRY(mode, ParseMode(value), field);
    Appearance& appearance = options.appearance;
    (name == "file-mode" ? appearance.file_mode : appearance.directory_mode) = mode;
  } else if (name == "pin") {
    for (const std::string& item : SplitAtCommas(value)) {
      const std::size_t first = item.find_first_not_of(' ');
      if (first == std::string::npos) continue;
      options.pinned.push_back(item.substr(first, item.find_last_not_of(' ') + 1 - first));
      SLUICE_CHECK(CheckPinned(options.pinned.back()), field);
    }
  } else {
    notes.push_back(fmt::format("{}: not known; known: {}", field, kClientOptions));
  }
  return Ok();
}

}  // namespace

Result<ClientOptions> ReadClientOptions(const PlanInput& input, std::vector<std::string>& notes) {
  ClientOptions options;
  if (auto status = ReadOwner(ChildOf(ChildOf(input.dataset, "spec"), "owner"), "spec.owner",
                              options.appearance);
      !status) {
    return Fail(status.error());
  }
  const Json& fuse = ChildOf(ChildOf(input.runtime, "spec"), "fuse");
  for (const auto& [name, value] : ChildOf(fuse, "options").items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : "";
    if (auto status = ReadOption(name, text, options, notes); !status) {
      return Fail(status.error().Wrap(input.profile.runtime.kind));
    }
  }
  return options;
}

}  // namespace sluice::plan
