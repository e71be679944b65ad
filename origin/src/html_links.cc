#include "html_links.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

namespace sluice::origin {
namespace {

constexpr std::string_view kHtmlBlank = " \t\r\n\f";

bool StartsWithIgnoringCase(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b | 0x20) : b);
         });
}

bool IsTagLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void SkipBlank(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kHtmlBlank), text.size()));
}

void AppendUtf8(std::uint32_t point, std::string& out) {
  const auto tail = [&](unsigned shift) {
    out += static_cast<char>(0x80U | ((point >> shift) & 0x3FU));
  };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0U | (point >> 6U));
    tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0U | (point >> 12U));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0U | (point >> 18U));
    tail(12);
    tail(6);
    tail(0);
  }
}

// "amp", "#38", "#x26": what stands between '&' and ';'.
bool AppendReference(std::string_view name, std::string& out) {
  constexpr auto kNamed = std::to_array<std::pair<std::string_view, char>>(
      {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}});
  for (const auto& [known, character] : kNamed) {
    if (name != known) continue;
    out += character;
    return true;
  }
  if (!name.starts_with('#')) return false;
  name.remove_prefix(1);
  const bool hexadecimal = name.starts_with('x') || name.starts_with('X');
  if (hexadecimal) name.remove_prefix(1);
  std::uint32_t point = 0;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), point, hexadecimal ? 16 : 10);
  const bool is_character = point > 0 && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
  if (error != std::errc() || end != name.data() + name.size() || !is_character) return false;
  AppendUtf8(point, out);
  return true;
}

std::string WithoutReferences(std::string_view text) {
  constexpr std::size_t kLongestReference = 10;
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '&') {
      const std::size_t length = text.substr(i + 1, kLongestReference).find(';');
      if (length != std::string_view::npos && AppendReference(text.substr(i + 1, length), out)) {
        i += length + 1;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

// A value in quotes or without; `text` is left behind it.
std::string_view TakeValue(std::string_view& text) {
  std::string_view value;
  if (text.starts_with('"') || text.starts_with('\'')) {
    const std::size_t end = std::min(text.find(text.front(), 1), text.size());
    value = text.substr(1, end - 1);
    text.remove_prefix(std::min(end + 1, text.size()));
    return value;
  }
  value = text.substr(0, text.find_first_of(" \t\r\n\f>"));
  text.remove_prefix(value.size());
  return value;
}

// The attributes of a tag up to its '>'; the href among them.
std::optional<std::string_view> TakeAttributes(std::string_view& text) {
  std::optional<std::string_view> href;
  while (true) {
    SkipBlank(text);
    if (text.empty()) return href;
    if (text.front() == '>') {
      text.remove_prefix(1);
      return href;
    }
    // The first character is a name's whatever it is, so that every round takes one.
    const std::size_t end = std::min(text.find_first_of("= \t\r\n\f>", 1), text.size());
    const std::string_view name = text.substr(0, end);
    text.remove_prefix(end);
    SkipBlank(text);
    if (!text.starts_with('=')) continue;
    text.remove_prefix(1);
    SkipBlank(text);
    const std::string_view value = TakeValue(text);
    if (name.size() == 4 && StartsWithIgnoringCase(name, "href") && !href) href = value;
  }
}

void SkipPast(std::string_view& text, std::string_view lower_end) {
  while (!text.empty() && !StartsWithIgnoringCase(text, lower_end)) {
    text.remove_prefix(
        std::min(std::max<std::size_t>(text.find(lower_end.front(), 1), 1), text.size()));
  }
  text.remove_prefix(std::min(lower_end.size(), text.size()));
}

}  // namespace

std::vector<std::string> HtmlLinks(std::string_view html) {
  std::vector<std::string> links;
  while (true) {
    html.remove_prefix(std::min(html.find('<'), html.size()));
    if (html.empty()) return links;
    if (html.starts_with("<!--")) {
      SkipPast(html, "-->");
      continue;
    }
    html.remove_prefix(1);
    const auto end = std::find_if_not(html.begin(), html.end(), IsTagLetter);
    const std::string_view tag = html.substr(0, static_cast<std::size_t>(end - html.begin()));
    if (tag.empty()) continue;
    html.remove_prefix(tag.size());
    const auto href = TakeAttributes(html);
    if (tag.size() == 1 && (tag[0] | 0x20) == 'a' && href) {
      links.push_back(WithoutReferences(*href));
    }
    if (tag.size() == 6 && StartsWithIgnoringCase(tag, "script")) SkipPast(html, "</script");
    if (tag.size() == 5 && StartsWithIgnoringCase(tag, "style")) SkipPast(html, "</style");
  }
}

}  // namespace sluice::origin
