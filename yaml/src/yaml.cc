#include "sluice/yaml/yaml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

namespace sluice::yaml {
namespace {

constexpr int kMaxDepth = 64;
// Aliases let a small text stand for a huge document.
constexpr std::size_t kMaxNodes = 4'000'000;

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

template <typename Number>
bool ReadWhole(std::string_view text, Number& number, int base) {
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && last == text.data() + text.size();
}

// What a scalar without quotes stands for.
Json PlainScalar(const std::string& text) {
  if (text.empty() || IsOneOf(text, {"~", "null", "Null", "NULL"})) return nullptr;
  if (IsOneOf(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (IsOneOf(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) {
    return false;
  }
  std::string_view digits = text;
  int base = 10;
  if (text.starts_with("0x")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (text.starts_with("0o")) {
    base = 8;
    digits.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
    digits.remove_prefix(1);
  }
  std::int64_t integer = 0;
  if (base != 10 && digits.starts_with('-')) return text;
  if (ReadWhole(digits, integer, base)) return integer;
  std::uint64_t large = 0;
  if (base == 10 && ReadWhole(digits, large, base)) return large;
  double number = 0;
  const char* const end = text.data() + text.size();
  if (auto [last, error] = std::from_chars(text.data(), end, number);
      error == std::errc() && last == end && std::isfinite(number)) {
    return number;
  }
  return text;
}

class Converter {
 public:
  // Fails on a document that is too deep or, by its aliases, too large.
  bool Convert(const YAML::Node& node, int depth, Json& out) {
    if (depth > kMaxDepth || ++nodes_ > kMaxNodes) return false;
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        out = nullptr;
        return true;
      case YAML::NodeType::Scalar:
        // "!" marks a quoted scalar.
        out = node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str"
                  ? Json(node.Scalar())
                  : PlainScalar(node.Scalar());
        return true;
      case YAML::NodeType::Sequence:
        out = Json::array();
        for (const YAML::Node& item : node) {
          if (!Convert(item, depth + 1, out.emplace_back())) return false;
        }
        return true;
      case YAML::NodeType::Map:
        return ConvertMap(node, depth, out);
    }
    return false;
  }

 private:
  bool ConvertMap(const YAML::Node& node, int depth, Json& out) {
    out = Json::object();
    std::vector<Json> merged;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return false;
      Json value;
      if (!Convert(entry.second, depth + 1, value)) return false;
      if (entry.first.Scalar() == "<<" && value.is_structured()) {
        merged.push_back(std::move(value));
      } else {
        out[entry.first.Scalar()] = std::move(value);
      }
    }
    for (const Json& value : merged) {
      if (value.is_object()) {
        Merge(value, out);
      } else {
        for (const Json& item : value) Merge(item, out);
      }
    }
    return true;
  }

  // Keys that are there already win.
  static void Merge(const Json& from, Json& into) {
    if (!from.is_object()) return;
    for (const auto& [key, value] : from.items()) {
      if (!into.contains(key)) into[key] = value;
    }
  }

  std::size_t nodes_ = 0;
};

// yaml-cpp reports by exception; nothing of it leaves this function. `first_line` is where the text
// begins in what the user wrote, counted from zero.
Result<std::vector<Json>> ParseFrom(const std::string& text, int first_line) {
  try {
    std::vector<Json> documents;
    for (const YAML::Node& node : YAML::LoadAll(text)) {
      Json document;
      if (!Converter().Convert(node, 0, document)) {
        return Fail(Code::kInvalidArgument,
                    fmt::format("YAML: nested deeper than {}, too large by its aliases, or a key "
                                "that is no scalar",
                                kMaxDepth));
      }
      documents.push_back(std::move(document));
    }
    return documents;
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalidArgument,
                fmt::format("YAML: line {}, column {}: {}", first_line + error.mark.line + 1,
                            error.mark.column + 1, error.msg));
  }
}

bool NeedsQuotes(const std::string& text) {
  return !PlainScalar(text).is_string() || text.find_first_not_of(" \t") == std::string::npos ||
         text.starts_with("---") || text.starts_with("...");
}

// Lines as they are. A literal block ends in exactly one newline and begins with no blank.
bool IsLiteral(const std::string& text) {
  return text.size() > 1 && text.ends_with('\n') && !text.ends_with("\n\n") &&
         text.find('\n') + 1 < text.size() && text.find_first_of("\t\r") == std::string::npos &&
         text.find(" \n") == std::string::npos && text[0] != ' ' && text[0] != '\n';
}

void Emit(const Json& value, YAML::Emitter& out) {
  switch (value.type()) {
    case Json::value_t::object:
      if (value.empty()) out << YAML::Flow;
      out << YAML::BeginMap;
      for (const auto& [key, item] : value.items()) {
        out << YAML::Key;
        Emit(Json(key), out);
        out << YAML::Value;
        Emit(item, out);
      }
      out << YAML::EndMap;
      break;
    case Json::value_t::array:
      if (value.empty()) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const Json& item : value) Emit(item, out);
      out << YAML::EndSeq;
      break;
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      if (NeedsQuotes(text)) {
        out << YAML::DoubleQuoted;
      } else if (IsLiteral(text)) {
        out << YAML::Literal;
      }
      out << text;
      break;
    }
    case Json::value_t::null:
      out << YAML::Null;
      break;
    case Json::value_t::boolean:
      out << value.get<bool>();
      break;
    default:
      out << value.dump();  // a number
  }
}

bool IsSeparator(std::string_view line) {
  return line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' ||
                                     line[3] == '\r' || line[3] == '\n');
}

}  // namespace

Result<std::vector<Json>> ParseStream(const std::string& text) { return ParseFrom(text, 0); }

Result<Json> Parse(const std::string& text) {
  auto documents = ParseStream(text);
  if (!documents) return Fail(documents.error());
  if (documents->empty()) return Json();
  return std::move(documents->front());
}

Result<std::vector<Document>> Split(std::string_view text) {
  std::vector<Document> documents;
  std::string current;
  int line_number = 0;
  int first_line = 0;
  const auto end_document = [&]() -> Status {
    auto values = ParseFrom(current, first_line);
    if (!values) return Fail(values.error());
    documents.push_back(
        {.text = std::move(current), .value = values->empty() ? Json() : values->front()});
    current.clear();
    return Ok();
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end);
    ++line_number;
    if (!IsSeparator(line)) {
      current += line;
      continue;
    }
    if (!current.empty() || !documents.empty()) {
      if (auto ended = end_document(); !ended) return Fail(ended.error());
    }
    // A document may begin on the line of its mark.
    const std::string_view rest = line.substr(3);
    const bool blank = rest.find_first_not_of(" \t\r\n") == std::string_view::npos;
    current = blank ? "" : rest;
    first_line = blank ? line_number : line_number - 1;
  }
  if (auto ended = end_document(); !ended) return Fail(ended.error());
  return documents;
}

std::string Format(const Json& document) {
  YAML::Emitter out;
  Emit(document, out);
  return std::string(out.c_str()) + "\n";
}

}  // namespace sluice::yaml
