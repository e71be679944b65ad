// One line of JSON on stderr per event: a constant message and key-value pairs.
//
//   log.Info("mounted", {{"path", path}, {"origin", origin.Describe()}});
//
// Error: someone must act; warn: degraded; info: a state changed; debug: the rest. Threads: any.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace sluice::platform {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

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

template <typename T>
concept LogCount = std::unsigned_integral<T> && !std::same_as<T, bool>;

// What a field may hold: text, a number or a truth. Converts by itself, so that call sites read as
// pairs; it is not JSON, so that whoever logs need not compile a JSON library.
class LogValue {
 public:
  using Held = std::variant<std::string, std::int64_t, std::uint64_t, double, bool>;

  // NOLINTBEGIN(google-explicit-constructor): conversion is what it is for.
  LogValue(std::string_view text) : held_(std::string(text)) {}
  LogValue(const std::string& text) : held_(text) {}
  LogValue(const char* text) : held_(std::string(text)) {}
  LogValue(std::floating_point auto number) : held_(static_cast<double>(number)) {}
  LogValue(std::signed_integral auto number) : held_(static_cast<std::int64_t>(number)) {}
  LogValue(LogCount auto number) : held_(static_cast<std::uint64_t>(number)) {}
  LogValue(std::same_as<bool> auto truth) : held_(truth) {}
  LogValue(const Secret& /*secret*/) : held_(std::string("***")) {}
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] const Held& Get() const { return held_; }

 private:
  Held held_;
};

struct LogField {
  std::string_view key;
  LogValue value;
};
using LogFields = std::initializer_list<LogField>;

class Log {
 public:
  // `component` goes into every line ("sluice-webhook").
  explicit Log(std::string_view component, LogLevel level = LogLevel::kInfo);

  void Debug(std::string_view message, LogFields fields = {}) const;
  void Info(std::string_view message, LogFields fields = {}) const;
  void Warn(std::string_view message, LogFields fields = {}) const;
  void Error(std::string_view message, LogFields fields = {}) const;

 private:
  void Write(LogLevel level, std::string_view message, LogFields fields) const;

  std::string component_;
  LogLevel level_;
};

}  // namespace sluice::platform
