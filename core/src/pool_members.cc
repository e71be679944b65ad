#include "sluice/core/pool_members.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include <fmt/format.h>

#include "sluice/core/json_access.h"

namespace sluice {
namespace {

constexpr std::size_t kLongestName = 253;
constexpr std::size_t kMostWorkers = 10'000;

bool IsText(const std::string& text) {
  return !text.empty() && text.size() <= kLongestName &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool IsAddress(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || !IsText(address)) return false;
  const std::string host = address.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (host.empty() || (!bracketed && host.find(':') != std::string::npos)) return false;
  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto [last, error] = std::from_chars(address.data() + colon + 1, end, port);
  return error == std::errc() && last == end && port != 0;
}

}  // namespace

Result<std::vector<PoolMember>> ParsePoolMembers(const Json& document) {
  if (!document.is_object() || !document.contains("workers") || !document["workers"].is_array()) {
    return Fail(Code::kInvalidArgument, "workers: must be a list");
  }
  const Json& list = document["workers"];
  if (list.size() > kMostWorkers) {
    return Fail(Code::kInvalidArgument, fmt::format("workers: more than {}", kMostWorkers));
  }
  std::vector<PoolMember> members;
  for (const Json& item : list) {
    const std::string field = fmt::format("workers[{}]", members.size());
    PoolMember member{StringOf(item, "name"), StringOf(item, "address")};
    if (!IsText(member.name)) {
      return Fail(Code::kInvalidArgument, field + ".name: must be a name without blanks");
    }
    if (!IsAddress(member.address)) {
      return Fail(Code::kInvalidArgument, field + ".address: must be <host>:<port>");
    }
    members.push_back(std::move(member));
  }
  const auto by_name = [](const PoolMember& a, const PoolMember& b) { return a.name < b.name; };
  std::sort(members.begin(), members.end(), by_name);
  const auto twice =
      std::adjacent_find(members.begin(), members.end(),
                         [](const PoolMember& a, const PoolMember& b) { return a.name == b.name; });
  if (twice != members.end()) {
    return Fail(Code::kInvalidArgument, fmt::format("workers: {} is there twice", twice->name));
  }
  return members;
}

Json RenderPoolMembers(const std::vector<PoolMember>& members) {
  Json list = Json::array();
  for (const PoolMember& member : members) {
    list.push_back({{"name", member.name}, {"address", member.address}});
  }
  return {{"workers", std::move(list)}};
}

}  // namespace sluice
