// One line of JSON on stderr per event: a constant message and key-value pairs.
//
//   log.Info("mounted", {{"path", path}, {"origin", origin.Describe()}});
//
// Error: someone must act; warn: degraded; info: a state changed; debug: the rest. Threads: any.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

namespace sluice::platform {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

class Log {
 public:
  // `component` goes into every line ("sluice-webhook").
  explicit Log(std::string_view component, LogLevel level = LogLevel::kInfo);

  void Debug(std::string_view message, const nlohmann::json& fields = {}) const;
  void Info(std::string_view message, const nlohmann::json& fields = {}) const;
  void Warn(std::string_view message, const nlohmann::json& fields = {}) const;
  void Error(std::string_view message, const nlohmann::json& fields = {}) const;

 private:
  void Write(LogLevel level, std::string_view message, const nlohmann::json& fields) const;

  std::string component_;
  LogLevel level_;
};

// A value that must not appear anywhere by accident: it prints as "***".
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  [[nodiscard]] const std::string& Reveal() const { return value_; }
  [[nodiscard]] bool Empty() const { return value_.empty(); }

 private:
  std::string value_;
};
inline void to_json(nlohmann::json& json, const Secret&) { json = "***"; }

}  // namespace sluice::platform
