// memcached's requests as text: the meta commands, and what a connection begins with.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/platform/log.h"

namespace sluice::pool {

// memcached's bound, and nothing that would end the word or the line.
bool IsKey(std::string_view key);

// `opaque` comes back in the reply. A lease of zero seconds asks for none.
std::string GetRequest(std::string_view key, std::chrono::seconds lease, std::uint32_t opaque);

// All of it, the empty value included: the lease stays an empty value, with a new number (which the
// reply tells) and its time before it.
std::string RenewRequest(std::string_view key, std::chrono::seconds lease, std::uint64_t number,
                         std::uint32_t opaque);

struct PutHead {
  std::string_view key;
  std::uint64_t length = 0;
  std::chrono::seconds keep{0};  // 0: until evicted; at most 30 days, more would be a date
  std::uint32_t checksum = 0;
  std::uint64_t lease = 0;  // 0: only where there is nothing
  std::uint32_t opaque = 0;
};
// The value and kLineEnd follow.
std::string PutRequest(const PutHead& head);

// Deletes only what has this number.
std::string DropRequest(std::string_view key, std::uint64_t number, std::uint32_t opaque);

inline constexpr std::string_view kLineEnd = "\r\n";
inline constexpr std::string_view kSettingsRequest = "stats settings\r\n";
// Loads the server's certificate, key and trust from their files; OK.
inline constexpr std::string_view kRefreshRequest = "refresh_certs\r\n";

struct PoolCredentials {
  std::string user;
  platform::Secret password;
};
std::string AuthRequest(const PoolCredentials& credentials);

}  // namespace sluice::pool
