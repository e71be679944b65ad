#include "sluice/yaml/yaml.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>
#include <sstream>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

namespace sluice::yaml {
namespace {

constexpr std::size_t kMaxDepth = 64;
// Longer ones are written behind "? ": libyaml reads others up to 128 bytes, yaml-cpp up to 1024
// characters, escapes as they stand.
constexpr std::size_t kLongestPlainKey = 128;
// Aliases let a small text stand for a huge document.
constexpr std::size_t kMaxNodes = 1'000'000;

bool MayBeNumber(std::string_view text) {
  return std::string_view("0123456789+-.").find(text.front()) != std::string_view::npos;
}

// How many bytes the character at the front takes; 0 when it is none (RFC 3629).
std::size_t CharacterLength(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return 0;
  }
  // Longer than needed, half of a UTF-16 pair, beyond Unicode.
  const unsigned second = byte(1);
  const bool wrong = first < 0xC2 || first > 0xF4 || (first == 0xE0 && second < 0xA0) ||
                     (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
                     (first == 0xF4 && second > 0x8F);
  return wrong ? 0 : length;
}

// What follows is JSON, which has no other text: yaml-cpp passes any bytes on. At a NUL it guesses
// UTF-16 or UTF-32, and does not check those either.
Status CheckIsText(std::string_view text, int first_line) {
  int line = first_line;
  while (!text.empty()) {
    if (text.front() == '\n') ++line;
    const std::size_t length = CharacterLength(text);
    if (length == 0 || text.front() == '\0') {
      return Fail(Code::kInvalidArgument,
                  fmt::format("YAML: line {}: bytes that are not UTF-8", line + 1));
    }
    text.remove_prefix(length);
  }
  return Ok();
}

// yaml-cpp takes "\\N" and "\\_" for the bytes 85 and A0 instead of the characters U+0085 and
// U+00A0.
std::string WithWholeCharacters(std::string text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = CharacterLength(std::string_view(text).substr(at));
    if (length == 0) text.insert(at, 1, '\xc2');
    at += length == 0 ? 2 : length;
  }
  return text;
}

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// The integer in Go's notation: sign, prefix 0x, 0o, 0b or 0 for octal.
std::optional<Json> ReadInteger(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char kind = static_cast<char>(std::tolower(static_cast<unsigned char>(text[1])));
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    text.remove_prefix(kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1);
  }
  std::uint64_t size = 0;
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), size, base);
  if (error != std::errc() || last != text.data() + text.size()) return std::nullopt;
  if (!negative) return Json(size);
  constexpr std::uint64_t kMostNegative = std::uint64_t{1} << 63U;
  if (size > kMostNegative) return std::nullopt;
  return Json(static_cast<std::int64_t>(0 - size));
}

std::optional<Json> ReadFloat(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  // What from_chars takes beyond digits.
  if (text.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return std::nullopt;
  double number = 0;
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || last != text.data() + text.size()) return std::nullopt;
  return Json(number);
}

// What a scalar without quotes stands for.
Json PlainScalar(const std::string& text) {
  if (text.empty() || IsOneOf(text, {"~", "null", "Null", "NULL"})) return nullptr;
  if (IsOneOf(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})) {
    return true;
  }
  if (IsOneOf(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"})) {
    return false;
  }
  if (!MayBeNumber(text)) return text;
  std::string digits = text;
  std::erase(digits, '_');
  if (auto integer = ReadInteger(digits)) return *integer;
  if (auto number = ReadFloat(digits)) return *number;
  return text;
}

[[noreturn]] void Refuse(const YAML::Mark& mark, const std::string& why) {
  throw YAML::ParserException(mark, why);
}

// Makes one document after another of the parser's events. What it refuses ends the parsing with
// the parser's own exception.
class Builder : public YAML::EventHandler {
 public:
  Json Take() { return std::exchange(document_, nullptr); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // At some texts yaml-cpp begins a document, takes nothing, and begins the next one.
    if (mark.pos <= last_start_) Refuse(mark, "neither a document nor the end of one");
    last_start_ = mark.pos;
    anchored_.clear();
    nodes_ = 0;
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Count(mark, 1);
    Add(mark, anchor, {});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchored_.find(anchor);
    if (found == anchored_.end()) Refuse(mark, "an alias within what it stands for");
    Count(mark, found->second.nodes);
    Add(mark, YAML::NullAnchor, found->second);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& scalar) override {
    Count(mark, 1);
    const std::string text = WithWholeCharacters(scalar);
    // "!" marks a quoted scalar.
    const bool is_string = tag == "!" || tag == "tag:yaml.org,2002:str";
    Add(mark, anchor, {.json = is_string ? Json(text) : PlainScalar(text), .text = text});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(mark, anchor, Json::array());
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(mark, anchor, Json::object());
  }
  void OnMapEnd() override {
    Collection& map = open_.back();
    for (const Json& merged : map.merged) {
      if (merged.is_object()) {
        Merge(merged, map.value.json);
      } else {
        for (const Json& item : merged) Merge(item, map.value.json);
      }
    }
    Close();
  }

 private:
  struct Value {
    Json json;
    std::optional<std::string> text{};  // of a scalar, as it was written: keys have no types
    std::size_t nodes = 1;
    std::size_t height = 0;  // of the collections in it
  };
  struct Collection {
    YAML::Mark mark;
    YAML::anchor_t anchor;
    Value value;
    std::optional<std::string> key{};  // of a map, while its value is to come
    std::vector<Json> merged{};
  };

  void Count(const YAML::Mark& mark, std::size_t nodes) {
    nodes_ += nodes;
    if (nodes_ > kMaxNodes) Refuse(mark, "too large, with its aliases");
  }

  void Open(const YAML::Mark& mark, YAML::anchor_t anchor, Json json) {
    Count(mark, 1);
    CheckDepth(mark, 0);
    open_.push_back({.mark = mark, .anchor = anchor, .value = {.json = std::move(json)}});
  }

  void Close() {
    Collection closed = std::move(open_.back());
    open_.pop_back();
    Add(closed.mark, closed.anchor, std::move(closed.value));
  }

  void CheckDepth(const YAML::Mark& mark, std::size_t height) const {
    if (open_.size() + height > kMaxDepth) {
      Refuse(mark, fmt::format("nested deeper than {}", kMaxDepth));
    }
  }

  void Add(const YAML::Mark& mark, YAML::anchor_t anchor, Value value) {
    CheckDepth(mark, value.height);
    if (anchor != YAML::NullAnchor) anchored_[anchor] = value;
    if (open_.empty()) {
      document_ = std::move(value.json);
      return;
    }
    Collection& collection = open_.back();
    Value& parent = collection.value;
    parent.nodes += value.nodes;
    parent.height = std::max(parent.height, value.height + 1);
    if (parent.json.is_array()) {
      parent.json.push_back(std::move(value.json));
    } else if (!collection.key) {
      if (!value.text) Refuse(mark, "a key that is no scalar");
      collection.key = std::move(value.text);
    } else {
      if (*collection.key == "<<" && value.json.is_structured()) {
        collection.merged.push_back(std::move(value.json));
      } else {
        parent.json[*collection.key] = std::move(value.json);
      }
      collection.key.reset();
    }
  }

  // Keys that are there already win.
  static void Merge(const Json& from, Json& into) {
    if (!from.is_object()) return;
    for (const auto& [key, value] : from.items()) {
      if (!into.contains(key)) into[key] = value;
    }
  }

  Json document_;
  std::vector<Collection> open_;
  std::unordered_map<YAML::anchor_t, Value> anchored_;
  std::size_t nodes_ = 0;
  int last_start_ = -1;
};

// yaml-cpp reports by exception; nothing of it leaves this function. `first_line` is where the text
// begins in what the user wrote, counted from zero.
Result<std::vector<Json>> ParseFrom(const std::string& text, int first_line) {
  if (auto checked = CheckIsText(text, first_line); !checked) return Fail(checked.error());
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Builder builder;
    std::vector<Json> documents;
    while (parser.HandleNextDocument(builder)) documents.push_back(builder.Take());
    return documents;
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalidArgument,
                fmt::format("YAML: line {}, column {}: {}", first_line + error.mark.line + 1,
                            error.mark.column + 1, error.msg));
  }
}

// Whether other readers might take the plain text for something else than this string. Not every
// such text is of another type for us: better quotes too many than one too few.
bool NeedsQuotes(const std::string& text) {
  return text.empty() || MayBeNumber(text) || !PlainScalar(text).is_string() ||
         IsOneOf(text, {"<<", "="}) || text.find_first_not_of(" \t") == std::string::npos;
}

// Characters that are escaped, because readers of YAML 1.1 refuse them or end lines at them.
bool HasUnusualCharacters(std::string_view text) {
  const auto is_control = [](char c) { return (c >= '\0' && c < ' ' && c != '\n') || c == '\x7f'; };
  constexpr std::array<std::string_view, 3> kSeparators{"\xe2\x80\xa8", "\xe2\x80\xa9",
                                                        "\xef\xbb\xbf"};
  return std::any_of(text.begin(), text.end(), is_control) ||
         text.find('\xc2') != std::string_view::npos ||  // U+0080 to U+00BF, C1 controls among them
         std::any_of(kSeparators.begin(), kSeparators.end(), [&](std::string_view separator) {
           return text.find(separator) != std::string_view::npos;
         });
}

// Lines as they are. A literal block ends in exactly one newline and begins with no blank.
bool IsLiteral(const std::string& text) {
  return text.size() > 1 && text.ends_with('\n') && !text.ends_with("\n\n") &&
         text.find('\n') + 1 < text.size() && text.find(" \n") == std::string::npos &&
         text[0] != ' ' && text[0] != '\n';
}

void Emit(const Json& value, YAML::Emitter& out) {
  switch (value.type()) {
    case Json::value_t::object:
      if (value.empty()) out << YAML::Flow;
      out << YAML::BeginMap;
      for (const auto& [key, item] : value.items()) {
        out << YAML::Key;
        if (key.size() > kLongestPlainKey) out << YAML::LongKey;
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
      if (HasUnusualCharacters(text)) {
        out << YAML::EscapeNonAscii << YAML::DoubleQuoted;
      } else if (NeedsQuotes(text)) {
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

// Whether the line is a document's mark, "---" or "...", perhaps with something after it.
bool IsMark(std::string_view line, std::string_view mark) {
  return line.starts_with(mark) &&
         (line.size() == 3 || std::string_view(" \t\r\n").find(line[3]) != std::string_view::npos);
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
  Document current;
  int line_number = 0;
  int first_line = 0;
  const auto end_document = [&]() -> Status {
    auto values = ParseFrom(current.text, first_line);
    if (!values) return Fail(values.error());
    if (values->size() > 1) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("YAML: line {}: several documents without \"---\" between them",
                              first_line + 1));
    }
    if (!values->empty()) current.value = std::move(values->front());
    documents.push_back(std::exchange(current, {}));
    first_line = line_number;
    return Ok();
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end);
    const bool begins = IsMark(line, "---");
    if (begins && !(current.mark.empty() && current.text.empty())) {
      if (auto ended = end_document(); !ended) return Fail(ended.error());
    }
    ++line_number;
    if (begins) {
      // A document may begin on the line of its mark.
      current.mark = line.substr(0, 3);
      current.text = line.substr(3);
    } else {
      current.text += line;
    }
    if (IsMark(line, "...")) {
      if (auto ended = end_document(); !ended) return Fail(ended.error());
    }
  }
  if (documents.empty() || !(current.mark.empty() && current.text.empty())) {
    if (auto ended = end_document(); !ended) return Fail(ended.error());
  }
  return documents;
}

std::string Format(const Json& document) {
  YAML::Emitter out;
  Emit(document, out);
  return std::string(out.c_str()) + "\n";
}

}  // namespace sluice::yaml
