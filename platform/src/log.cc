#include "sluice/platform/log.h"

#include <unistd.h>

#include <chrono>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::platform {
namespace {

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

}  // namespace

Log::Log(std::string_view component, LogLevel level) : component_(component), level_(level) {}

void Log::Debug(std::string_view message, LogFields fields) const {
  Write(LogLevel::kDebug, message, fields);
}
void Log::Info(std::string_view message, LogFields fields) const {
  Write(LogLevel::kInfo, message, fields);
}
void Log::Warn(std::string_view message, LogFields fields) const {
  Write(LogLevel::kWarn, message, fields);
}
void Log::Error(std::string_view message, LogFields fields) const {
  Write(LogLevel::kError, message, fields);
}

void Log::Write(LogLevel level, std::string_view message, LogFields fields) const {
  if (level < level_) return;
  const auto now =
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  nlohmann::ordered_json line = {
      {"time", fmt::format("{:%FT%T}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)))},
      {"level", LevelName(level)},
      {"component", component_},
      {"message", message}};
  for (const LogField& field : fields) {
    std::visit([&](const auto& value) { line[std::string(field.key)] = value; }, field.value.Get());
  }
  // Names from the outside may hold any byte; replace what is not UTF-8 instead of throwing.
  std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  // One write, so that lines of several threads and processes do not mix.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace sluice::platform
