#include "sluice/core/path_pattern.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace sluice {
namespace {

constexpr std::string_view kAnyDepth = "**";
// One bit of a State is "all used up".
constexpr std::size_t kMostComponents = 63;
// Bytes that are no UTF-8 count as characters behind all others.
constexpr char32_t kFirstStrayByte = 0x110000;

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

// The character at `at`, which moves behind it.
char32_t NextCharacter(std::string_view text, std::size_t& at) {
  const auto first = static_cast<unsigned char>(text[at]);
  std::size_t length = 1;
  char32_t value = first;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    value = first & 0x1FU;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    value = first & 0x0FU;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    value = first & 0x07U;
  } else if (first >= 0x80) {
    ++at;
    return kFirstStrayByte + first;
  }
  if (text.size() - at < length) {
    ++at;
    return kFirstStrayByte + first;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[at + i])) {
      ++at;
      return kFirstStrayByte + first;
    }
    value = (value << 6U) | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
  }
  // Longer than needed: else another name could pass for this one.
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || value >= kFirstStrayByte) {
    ++at;
    return kFirstStrayByte + first;
  }
  at += length;
  return value;
}

// Where the set that opens at `open` ends: behind its bracket; npos when it is never closed, and
// the bracket stands for itself.
std::size_t EndOfSet(std::string_view pattern, std::size_t open) {
  std::size_t first = open + 1;
  if (first < pattern.size() && (pattern[first] == '!' || pattern[first] == '^')) ++first;
  // A bracket that comes first is a member.
  const std::size_t close = pattern.find(']', first + 1);
  return close == std::string_view::npos ? close : close + 1;
}

bool InSet(std::string_view set, char32_t wanted) {
  // Without its brackets.
  set = set.substr(1, set.size() - 2);
  const bool outside = set.front() == '!' || set.front() == '^';
  if (outside) set.remove_prefix(1);
  bool found = false;
  for (std::size_t at = 0; at < set.size();) {
    const char32_t low = NextCharacter(set, at);
    char32_t high = low;
    if (at + 1 < set.size() && set[at] == '-') {
      ++at;
      high = NextCharacter(set, at);
    }
    found = found || (low <= wanted && wanted <= high);
  }
  return found != outside;
}

// Whether what stands at `at` of the pattern (no "*") takes the character; `at` moves behind it.
bool TakesCharacter(std::string_view pattern, std::size_t& at, char32_t wanted) {
  if (pattern[at] == '?') {
    ++at;
    return true;
  }
  if (pattern[at] == '[') {
    if (const std::size_t end = EndOfSet(pattern, at); end != std::string_view::npos) {
      const std::string_view set = pattern.substr(at, end - at);
      at = end;
      return InSet(set, wanted);
    }
  }
  return NextCharacter(pattern, at) == wanted;
}

}  // namespace

bool MatchesName(std::string_view pattern, std::string_view name) {
  std::size_t p = 0;
  std::size_t n = 0;
  // Behind the last "*", and where the name stood then: what to go back to.
  std::size_t retry_p = std::string_view::npos;
  std::size_t retry_n = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      retry_p = ++p;
      retry_n = n;
      continue;
    }
    if (p < pattern.size()) {
      std::size_t next = n;
      const char32_t character = NextCharacter(name, next);
      if (TakesCharacter(pattern, p, character)) {
        n = next;
        continue;
      }
    }
    if (retry_p == std::string_view::npos) return false;
    // The "*" takes one character more.
    NextCharacter(name, retry_n);
    n = retry_n;
    p = retry_p;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool IsPlainName(std::string_view pattern) {
  return pattern.find_first_of("*?[") == std::string_view::npos;
}

std::vector<std::string> CleanComponents(std::string_view path) {
  std::vector<std::string> components;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      components.emplace_back(part);
    } else if (!components.empty()) {
      components.pop_back();
    }
  }
  return components;
}

Result<PathPattern> PathPattern::Parse(std::string_view text) {
  PathPattern pattern;
  pattern.components_ = CleanComponents(text);
  // "**/**" says no more than "**".
  const auto repeated = [](const std::string& a, const std::string& b) {
    return a == kAnyDepth && b == kAnyDepth;
  };
  pattern.components_.erase(
      std::unique(pattern.components_.begin(), pattern.components_.end(), repeated),
      pattern.components_.end());
  if (pattern.components_.size() > kMostComponents) {
    return Fail(Code::kInvalidArgument, fmt::format("a pattern of {} components; {} are the most",
                                                    pattern.components_.size(), kMostComponents));
  }
  return pattern;
}

bool PathPattern::IsAnyDepth(std::size_t position) const {
  return position < components_.size() && components_[position] == kAnyDepth;
}

PathPattern::State PathPattern::Closure(std::size_t position) const {
  const State reached = Bit(position);
  return IsAnyDepth(position) ? reached | Bit(position + 1) : reached;
}

PathPattern::State PathPattern::Step(State state, std::string_view name) const {
  State next = state & Bit(components_.size());
  for (std::size_t i = 0; i < components_.size(); ++i) {
    if ((state & Bit(i)) != 0 && IsAnyDepth(i)) next |= Closure(i);
  }
  return next | StepSpelledOut(state, name);
}

PathPattern::State PathPattern::StepSpelledOut(State state, std::string_view name) const {
  State next = 0;
  for (std::size_t i = 0; i < components_.size(); ++i) {
    if ((state & Bit(i)) == 0 || IsAnyDepth(i)) continue;
    if (MatchesName(components_[i], name)) next |= Closure(i + 1);
  }
  return next;
}

std::optional<std::vector<std::string>> PathPattern::OnlyNames(State state) const {
  if (Matches(state)) return std::nullopt;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < components_.size(); ++i) {
    if ((state & Bit(i)) == 0) continue;
    if (!IsPlainName(components_[i])) return std::nullopt;
    names.push_back(components_[i]);
  }
  return names;
}

}  // namespace sluice
