#include "sluice/core/timestamp.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace sluice {
namespace {

using std::chrono::system_clock;

std::string Seconds(system_clock::time_point time) {
  // In seconds, for the first day in nanoseconds begins before a time_point does.
  const auto second = std::chrono::floor<std::chrono::seconds>(time);
  const auto day = std::chrono::floor<std::chrono::days>(second);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(second - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

}  // namespace

system_clock::time_point TimeFromUnix(std::int64_t seconds) {
  // A second less at each end leaves room for a fraction.
  constexpr auto kLast =
      std::chrono::duration_cast<std::chrono::seconds>(system_clock::duration::max()) -
      std::chrono::seconds(1);
  return system_clock::time_point(std::clamp(std::chrono::seconds(seconds), -kLast, kLast));
}

std::string FormatTime(system_clock::time_point time) { return Seconds(time) + "Z"; }

std::string FormatMicroTime(system_clock::time_point time) {
  const auto fraction = std::chrono::floor<std::chrono::microseconds>(
      time - std::chrono::floor<std::chrono::seconds>(time));
  return fmt::format("{}.{:06}Z", Seconds(time), fraction.count());
}

std::optional<system_clock::time_point> ParseTime(const std::string& text) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int end = 0;
  if (text.size() > 40 || !text.ends_with('Z') ||
      std::sscanf(text.c_str(), "%4d-%2u-%2uT%2d:%2d:%2d%n",  // NOLINT(cert-err34-c): checked below
                  &year, &month, &day, &hour, &minute, &second, &end) != 6) {
    return {};
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  const char next = text[static_cast<std::size_t>(end)];
  if (!date.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
      second > 60 || (next != 'Z' && next != '.')) {
    return {};
  }
  const std::chrono::sys_seconds time = std::chrono::sys_days(date) + std::chrono::hours(hour) +
                                        std::chrono::minutes(minute) + std::chrono::seconds(second);
  return TimeFromUnix(time.time_since_epoch().count());
}

std::string FormatDuration(std::chrono::seconds duration) {
  const std::chrono::hh_mm_ss parts(duration);
  if (parts.hours().count() > 0) {
    return fmt::format("{}h{}m{}s", parts.hours().count(), parts.minutes().count(),
                       parts.seconds().count());
  }
  if (parts.minutes().count() > 0) {
    return fmt::format("{}m{}s", parts.minutes().count(), parts.seconds().count());
  }
  return fmt::format("{}s", parts.seconds().count());
}

}  // namespace sluice
