// One line of memcached's replies, as far as this client can be answered by it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sluice/core/result.h"

namespace sluice::pool {

// memcached's own bound of -I; who announces more is not memcached.
constexpr std::uint64_t kLongestValue = 1ULL << 30;

struct Reply {
  enum class Kind {
    kValue,        // VA: `length` bytes and a line end follow
    kMiss,         // EN
    kDone,         // HD
    kNotStored,    // NS
    kExists,       // EX
    kNotFound,     // NF
    kStored,       // STORED: authenticated
    kOk,           // OK: certificates are loaded
    kStatistic,    // STAT: `text` is "<name> <value>"
    kEnd,          // END of the statistics
    kClientError,  // `text` says what
    kServerError,
  };
  Kind kind = Kind::kMiss;
  std::uint64_t length = 0;        // of the value
  std::uint32_t client_flags = 0;  // f
  std::uint64_t cas = 0;           // c
  std::optional<std::uint32_t> opaque{};
  bool won = false;         // W: the caller is to fill it
  std::string_view text{};  // within the line
};

// `line` is without its line end. kUnavailable for what is no reply (with at most a few characters
// of it, made printable): the connection is of no use any more.
Result<Reply> ParseReply(std::string_view line);

// For messages: at most 100 characters, what is not printable ASCII as '?'.
std::string Printable(std::string_view text);

}  // namespace sluice::pool
