// Times as Kubernetes writes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace sluice {

// So many seconds after 1970, or the nearest time that a time_point holds: it ends in 2262, while
// files, servers and certificates may say anything.
std::chrono::system_clock::time_point TimeFromUnix(std::int64_t seconds);
// metav1.Time: "2026-11-23T02:32:18Z".
std::string FormatTime(std::chrono::system_clock::time_point time);
// metav1.MicroTime: "2026-11-23T02:32:18.000000Z".
std::string FormatMicroTime(std::chrono::system_clock::time_point time);
// Reads "2026-11-23T02:32:18Z" with or without a fraction (dropped); nothing for other text.
std::optional<std::chrono::system_clock::time_point> ParseTime(const std::string& text);
// Go's short form of a duration: "3s", "1m15s", "2h0m5s".
std::string FormatDuration(std::chrono::seconds duration);

}  // namespace sluice
