#include "sluice/core/quantity.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace sluice {
namespace {

struct Suffix {
  std::string_view text;
  double factor;
};

constexpr std::array<Suffix, 13> kSuffixes = {{{"", 1},
                                               {"k", 1e3},
                                               {"M", 1e6},
                                               {"G", 1e9},
                                               {"T", 1e12},
                                               {"P", 1e15},
                                               {"E", 1e18},
                                               {"Ki", 0x1p10},
                                               {"Mi", 0x1p20},
                                               {"Gi", 0x1p30},
                                               {"Ti", 0x1p40},
                                               {"Pi", 0x1p50},
                                               {"Ei", 0x1p60}}};
constexpr double kTooLarge = 0x1p63;

Error Malformed(const std::string& text) {
  return {Code::kInvalidArgument,
          fmt::format("\"{}\" is no quantity of bytes; write for example 2Gi", text)};
}

}  // namespace

Result<std::uint64_t> ParseBytes(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (text.empty() || error != std::errc() || !(number >= 0)) return Fail(Malformed(text));
  std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  if (suffix.size() > 1 && (suffix[0] == 'e' || suffix[0] == 'E') && suffix[1] != 'i') {
    int exponent = 0;
    const auto [tail, bad] =
        std::from_chars(suffix.data() + 1, suffix.data() + suffix.size(), exponent);
    if (bad != std::errc() || tail != suffix.data() + suffix.size()) return Fail(Malformed(text));
    number *= std::pow(10.0, exponent);
    suffix = "";
  }
  for (const Suffix& known : kSuffixes) {
    if (known.text != suffix) continue;
    const double bytes = std::ceil(number * known.factor);
    if (!(bytes < kTooLarge)) return Fail(Malformed(text));
    return static_cast<std::uint64_t>(bytes);
  }
  return Fail(Malformed(text));
}

std::string FormatBytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", bytes, kUnits[unit]);
}

}  // namespace sluice
