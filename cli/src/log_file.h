// The log of a mount's holder and client, kept within a bound: it lies on tmpfs and a mount may
// live for months.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sluice::cli {

inline constexpr std::uintmax_t kMaxLogBytes = 1U << 20;

// Moves the content of `directory`/log to log.1, in place of what was there, once it is larger than
// `max_bytes`. Both processes have the file open for appending, so it is copied and cut, not
// renamed; a line that is written in between may be lost. Best effort.
void BoundLog(const std::string& directory, std::uintmax_t max_bytes = kMaxLogBytes);

// What the client has complained about last, as "message: error"; empty when there is nothing. Only
// what was said since then counts, by the second: the log also has the lives before.
std::string LastClientError(const std::string& directory,
                            std::chrono::system_clock::time_point since);

}  // namespace sluice::cli
