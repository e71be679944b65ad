#include "change_text.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/json_patch.h"
#include "sluice/yaml/yaml.h"

namespace sluice::cli {
namespace {

constexpr std::string_view kGreen = "\033[32m";
constexpr std::string_view kRed = "\033[31m";
constexpr std::string_view kNormal = "\033[0m";

std::string Unescaped(std::string_view token) {
  std::string text;
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '~' && i + 1 < token.size()) {
      text += token[++i] == '0' ? '~' : '/';
    } else {
      text += token[i];
    }
  }
  return text;
}

bool AllOf(std::string_view text, bool (*is)(unsigned char)) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [&](char c) { return is(static_cast<unsigned char>(c)); });
}

// "+ path: value" or "+ path:" with the value in lines below.
std::string Block(char sign, const std::string& path, const Json& value, bool colour) {
  std::string text;
  const auto add_line = [&](std::string_view line) {
    text += colour ? (sign == '+' ? kGreen : kRed) : "";
    text += fmt::format("    {} {}", sign, line);
    text += colour ? kNormal : "";
    text += '\n';
  };
  std::string lines = yaml::Format(value);
  lines.pop_back();
  if (!value.is_structured() && lines.find('\n') == std::string::npos) {
    add_line(fmt::format("{}: {}", path, lines));
    return text;
  }
  add_line(path + ":");
  std::string_view rest = lines;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    add_line(fmt::format("  {}", rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return text;
}

}  // namespace

std::string ReadablePath(const std::string& json_pointer) {
  std::string path;
  std::string_view rest = json_pointer;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string token = Unescaped(rest.substr(0, end));
    rest.remove_prefix(end);
    if (AllOf(token, [](unsigned char c) { return std::isdigit(c) != 0; })) {
      path += fmt::format("[{}]", token);
    } else if (AllOf(token, [](unsigned char c) { return std::isalnum(c) != 0; })) {
      path += (path.empty() ? "" : ".") + token;
    } else {
      path += fmt::format("[\"{}\"]", token);
    }
  }
  return path;
}

std::string ChangeText(const Json& before, const Json& after, bool colour) {
  std::string text;
  Json document = before;
  for (const Json& operation : DiffJson(before, after)) {
    const std::string pointer = StringOf(operation, "path");
    const std::string op = StringOf(operation, "op");
    const std::string path = ReadablePath(pointer);
    if (op != "add") text += Block('-', path, ValueAt(document, pointer), colour);
    if (op != "remove") text += Block('+', path, operation["value"], colour);
    document = document.patch(Json::array({operation}));
  }
  return text;
}

}  // namespace sluice::cli
