#include "request.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::pool {
namespace {

constexpr std::size_t kLongestKey = 250;
constexpr std::chrono::seconds kLongestKeep = std::chrono::hours(24 * 30);

}  // namespace

bool IsKey(std::string_view key) {
  return !key.empty() && key.size() <= kLongestKey &&
         std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c <= '~'; });
}

std::string GetRequest(std::string_view key, std::chrono::seconds lease, std::uint32_t opaque) {
  if (lease.count() == 0) return fmt::format("mg {} v c f s O{}\r\n", key, opaque);
  return fmt::format("mg {} v c f s O{} N{}\r\n", key, opaque, lease.count());
}

std::string RenewRequest(std::string_view key, std::chrono::seconds lease, std::uint64_t number,
                         std::uint32_t opaque) {
  return fmt::format("ms {} 0 T{} C{} c O{}\r\n\r\n", key, lease.count(), number, opaque);
}

std::string PutRequest(const PutHead& head) {
  const std::string condition = head.lease == 0 ? "ME" : fmt::format("C{}", head.lease);
  return fmt::format("ms {} {} T{} F{} {} O{}\r\n", head.key, head.length,
                     std::min(head.keep, kLongestKeep).count(), head.checksum, condition,
                     head.opaque);
}

std::string DropRequest(std::string_view key, std::uint64_t number, std::uint32_t opaque) {
  return fmt::format("md {} C{} O{}\r\n", key, number, opaque);
}

std::string AuthRequest(const PoolCredentials& credentials) {
  const std::string& password = credentials.password.Reveal();
  return fmt::format("set auth 0 0 {}\r\n{} {}\r\n", credentials.user.size() + 1 + password.size(),
                     credentials.user, password);
}

}  // namespace sluice::pool
