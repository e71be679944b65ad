#include "xml_walk.h"

#include <expat.h>

#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxDepth = 16;

// Walks the document and calls `on_text` at the end of each element with its path ("a/b/c", without
// name-space prefixes) and the text directly inside.
class XmlWalk {
 public:
  explicit XmlWalk(OnXmlText on_text) : on_text_(std::move(on_text)) {}

  Status Run(std::string_view xml) {
    const std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser(
        XML_ParserCreate(nullptr), &XML_ParserFree);
    if (parser == nullptr) return Fail(Code::kInternal, "no memory for the XML parser");
    parser_ = parser.get();
    XML_SetUserData(parser_, this);
    XML_SetElementHandler(parser_, &XmlWalk::OnStart, &XmlWalk::OnEnd);
    XML_SetCharacterDataHandler(parser_, &XmlWalk::OnData);
    XML_SetStartDoctypeDeclHandler(parser_, &XmlWalk::OnDoctype);
    const auto result = XML_Parse(parser_, xml.data(), static_cast<int>(xml.size()), /*isFinal=*/1);
    if (!refusal_.empty()) return Fail(Code::kUnavailable, refusal_);
    if (result != XML_STATUS_OK) {
      return Fail(Code::kUnavailable, fmt::format("the server's XML is malformed at line {}: {}",
                                                  XML_GetCurrentLineNumber(parser_),
                                                  XML_ErrorString(XML_GetErrorCode(parser_))));
    }
    return Ok();
  }

 private:
  static void OnStart(void* self, const XML_Char* name, const XML_Char** /*attributes*/) {
    static_cast<XmlWalk*>(self)->Enter(name);
  }
  static void OnEnd(void* self, const XML_Char* /*name*/) { static_cast<XmlWalk*>(self)->Leave(); }
  static void OnData(void* self, const XML_Char* data, int length) {
    auto* walk = static_cast<XmlWalk*>(self);
    if (walk->text_.size() + static_cast<std::size_t>(length) > kMaxXmlText) {
      walk->Refuse("the server's XML holds an overlong value");
      return;
    }
    walk->text_.append(data, static_cast<std::size_t>(length));
  }
  static void OnDoctype(void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
    static_cast<XmlWalk*>(self)->Refuse("the server's XML declares a document type");
  }

  void Enter(std::string_view name) {
    if (const std::size_t colon = name.rfind(':'); colon != std::string_view::npos) {
      name.remove_prefix(colon + 1);
    }
    if (ends_.size() >= kMaxDepth || name.size() > kMaxXmlText) {
      return Refuse("the server's XML is nested too deeply");
    }
    ends_.push_back(path_.size());
    if (!path_.empty()) path_ += '/';
    path_ += name;
    text_.clear();
  }
  void Leave() {
    on_text_(path_, text_);
    path_.resize(ends_.back());
    ends_.pop_back();
    text_.clear();
  }
  void Refuse(std::string why) {
    if (refusal_.empty()) refusal_ = std::move(why);
    XML_StopParser(parser_, /*resumable=*/0);
  }

  OnXmlText on_text_;
  XML_Parser parser_ = nullptr;
  std::string path_;
  std::vector<std::size_t> ends_;  // length of path_ before each open element
  std::string text_;
  std::string refusal_;
};

}  // namespace

Status WalkXml(std::string_view xml, OnXmlText on_text) {
  return XmlWalk(std::move(on_text)).Run(xml);
}

std::string PlainWord(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_';
    if (plain && out.size() < 64) out += c;
  }
  return out;
}

}  // namespace sluice::origin
