#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <ranges>

#include <fmt/format.h>

#include "sluice/platform/mount.h"

namespace sluice::platform {
namespace {

constexpr bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes space, tab, newline and backslash as \ooo.
std::string Unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      out += static_cast<char>(value & 0xff);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string_view> SplitFields(std::string_view text, char separator) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) fields.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return fields;
}

bool HasOption(std::string_view options, std::string_view wanted) {
  const auto fields = SplitFields(options, ',');
  return std::ranges::find(fields, wanted) != fields.end();
}

std::optional<std::uint32_t> ParseNumber(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
std::optional<MountEntry> ParseLine(std::string_view line) {
  const auto fields = SplitFields(line, ' ');
  const auto dash = std::ranges::find(fields, std::string_view("-"));
  const auto before = static_cast<std::size_t>(dash - fields.begin());
  if (dash == fields.end() || before < 6 || fields.size() < before + 3) return std::nullopt;
  const std::string_view device = fields[2];
  const std::size_t colon = device.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto major = ParseNumber(device.substr(0, colon));
  const auto minor = ParseNumber(device.substr(colon + 1));
  if (!major || !minor) return std::nullopt;

  MountEntry entry;
  entry.major = *major;
  entry.minor = *minor;
  entry.root = Unescape(fields[3]);
  entry.mount_point = Unescape(fields[4]);
  entry.fs_type = Unescape(fields[before + 1]);
  entry.read_only = HasOption(fields[5], "ro");
  // An empty source is printed as nothing, so the last field may be the options already.
  if (fields.size() > before + 3) {
    entry.source = Unescape(fields[before + 2]);
    entry.read_only = entry.read_only || HasOption(fields[before + 3], "ro");
  } else {
    entry.read_only = entry.read_only || HasOption(fields[before + 2], "ro");
  }
  return entry;
}

}  // namespace

Result<std::vector<MountEntry>> ParseMountTable(std::string_view text) {
  std::vector<MountEntry> entries;
  std::size_t number = 0;
  for (const std::string_view line : SplitFields(text, '\n')) {
    ++number;
    auto entry = ParseLine(line);
    if (!entry)
      return Fail(Code::kInternal, fmt::format("mount table: line {} is malformed", number));
    entries.push_back(std::move(*entry));
  }
  return entries;
}

Result<std::vector<MountEntry>> MountTable() {
  std::ifstream file("/proc/self/mountinfo");
  if (!file) return Fail(Code::kInternal, "mount table: open /proc/self/mountinfo");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return ParseMountTable(text);
}

Result<MountEntry> FindMount(const std::string& path) {
  SLUICE_TRY(table, MountTable(), "find mount");
  for (MountEntry& entry : std::views::reverse(table)) {
    if (entry.mount_point == path) return std::move(entry);
  }
  return Fail(Code::kNotFound, fmt::format("nothing is mounted at {}", path));
}

}  // namespace sluice::platform
