#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/quantity.h"

#include "plan/plan_parts.h"

namespace sluice::plan {
namespace {

Result<std::vector<std::uint64_t>> ReadQuotas(const std::string& list, const std::string& field) {
  std::vector<std::uint64_t> quotas;
  for (const std::string& item : SplitAtCommas(list)) {
    auto bytes = ParseBytes(item);
    if (!bytes) return Fail(bytes.error().Wrap(field));
    quotas.push_back(*bytes);
  }
  return quotas;
}

}  // namespace

std::vector<std::string> SplitAtCommas(const std::string& list) {
  std::vector<std::string> items;
  std::size_t begin = 0;
  while (begin <= list.size()) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    items.push_back(list.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return items;
}

Result<TierLevel> ReadTierLevel(const Json& level, const std::string& field) {
  TierLevel tier{.memory = StringOf(level, "mediumtype") == "MEM"};
  if (const std::string paths = StringOf(level, "path"); !paths.empty()) {
    tier.paths = SplitAtCommas(paths);
  }
  const std::string list = StringOf(level, "quotaList");
  const Json& size = ValueAt(level, "/quota");
  const std::string quota = size.is_number_integer() ? size.dump() : StringOf(level, "quota");
  if (!list.empty()) {
    auto quotas = ReadQuotas(list, field + ".quotaList");
    if (!quotas) return Fail(quotas.error());
    if (!tier.paths.empty() && quotas->size() != tier.paths.size()) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("{}.quotaList: has {} sizes for {} paths; give one for each path",
                              field, quotas->size(), tier.paths.size()));
    }
    tier.path_quotas = std::move(*quotas);
    for (const std::uint64_t bytes : tier.path_quotas) tier.quota += bytes;
  } else if (!quota.empty()) {
    auto bytes = ParseBytes(quota);
    if (!bytes) return Fail(bytes.error().Wrap(field + ".quota"));
    tier.quota = *bytes;
    const std::size_t shares = std::max<std::size_t>(1, tier.paths.size());
    tier.path_quotas.assign(shares, *bytes / shares);
  }
  if (tier.memory && tier.quota == 0) {
    return Fail(Code::kInvalidArgument,
                field + ".quota: is missing; a cache in memory needs a size such as 2Gi");
  }
  return tier;
}

}  // namespace sluice::plan
