#include "s3_xml.h"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <memory>

#include <fmt/format.h>

#include "sluice/core/timestamp.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxText = 16U << 10;  // a key has at most 1024 bytes, thrice that encoded
constexpr std::size_t kMaxKeysPerPage = 100'000;

// Walks the document and calls `on_text` at the end of each element with its path ("a/b/c", without
// name-space prefixes) and the text directly inside.
class XmlWalk {
 public:
  using OnText = std::function<void(std::string_view path, const std::string& text)>;

  explicit XmlWalk(OnText on_text) : on_text_(std::move(on_text)) {}

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
    if (walk->text_.size() + static_cast<std::size_t>(length) > kMaxText) {
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
    if (ends_.size() >= kMaxDepth || name.size() > kMaxText) {
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

  OnText on_text_;
  XML_Parser parser_ = nullptr;
  std::string path_;
  std::vector<std::size_t> ends_;  // length of path_ before each open element
  std::string text_;
  std::string refusal_;
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What encoding-type=url makes of a key: %XX, and '+' for a blank. Anything else stays.
std::string UrlDecode(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

bool ParseNumber(std::string_view text, auto& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// Collects the elements of a listing.
class ListCollector {
 public:
  void Take(std::string_view path, const std::string& text) {
    constexpr std::string_view kContents = "ListBucketResult/Contents";
    if (path == kContents) return Finish();
    if (path.starts_with(kContents)) return TakeField(path.substr(kContents.size() + 1), text);
    if (path == "ListBucketResult/IsTruncated") truncated_ = text == "true";
    if (path == "ListBucketResult/NextContinuationToken") token_ = text;
    if (path == "ListBucketResult/EncodingType") url_encoded_ = text == "url";
    if (path == "ListBucketResult") complete_ = true;
  }

  Result<ListPage> Page() && {
    if (!complete_) problem_ = "the server's answer is no listing";
    if (truncated_ && token_.empty()) problem_ = "a truncated listing has no continuation token";
    if (!problem_.empty()) return Fail(Code::kUnavailable, std::move(problem_));
    // The element that says so may come after the keys.
    if (url_encoded_) {
      for (ListedKey& key : page_.keys) key.key = UrlDecode(key.key);
    }
    if (truncated_) page_.next_token = std::move(token_);
    return std::move(page_);
  }

 private:
  void TakeField(std::string_view field, const std::string& text) {
    if (field == "Key") {
      current_.key = text;
      has_key_ = true;
    } else if (field == "Size") {
      has_size_ = ParseNumber(text, current_.size);
    } else if (field == "ETag") {
      current_.etag = text;
    } else if (field == "LastModified") {
      current_.modified = ParseIsoTime(text).value_or(std::chrono::system_clock::time_point{});
    }
  }
  void Finish() {
    if (!has_key_ || !has_size_) problem_ = "a listed object lacks its key or size";
    if (page_.keys.size() >= kMaxKeysPerPage) problem_ = "a page of the listing is too long";
    if (problem_.empty()) page_.keys.push_back(std::move(current_));
    current_ = {};
    has_key_ = has_size_ = false;
  }

  ListPage page_;
  ListedKey current_;
  bool has_key_ = false;
  bool has_size_ = false;
  bool truncated_ = false;
  bool url_encoded_ = false;
  bool complete_ = false;
  std::string token_;
  std::string problem_;
};

// Only what a code or region consists of: the text ends up in messages and events.
std::string Plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_';
    if (plain && out.size() < 64) out += c;
  }
  return out;
}

}  // namespace

Result<ListPage> ParseListPage(std::string_view xml) {
  ListCollector collector;
  XmlWalk walk([&](std::string_view path, const std::string& text) { collector.Take(path, text); });
  if (auto status = walk.Run(xml); !status) return Fail(status.error());
  return std::move(collector).Page();
}

S3Error ParseS3Error(std::string_view xml) {
  S3Error error;
  XmlWalk walk([&](std::string_view path, const std::string& text) {
    if (path == "Error/Code") error.code = Plain(text);
    if (path == "Error/Region") error.region = Plain(text);
  });
  if (!walk.Run(xml)) return {};
  return error;
}

std::optional<std::chrono::system_clock::time_point> ParseIsoTime(std::string_view text) {
  // ParseTime takes numbers of any width and sign, and drops the fraction.
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() <= kShape.size() || text.back() != 'Z') return std::nullopt;
  const std::string_view seconds = text.substr(0, kShape.size());
  const bool shaped =
      std::equal(kShape.begin(), kShape.end(), seconds.begin(), [](char wanted, char given) {
        return wanted == '0' ? given >= '0' && given <= '9' : given == wanted;
      });
  if (!shaped || seconds < "1970") return std::nullopt;
  const auto time = ParseTime(fmt::format("{}Z", seconds));
  if (!time || text.size() == kShape.size() + 1) return time;
  unsigned milliseconds = 0;
  if (text[19] != '.' || text.size() < 24 || !ParseNumber(text.substr(20, 3), milliseconds)) {
    return std::nullopt;
  }
  return *time + std::chrono::milliseconds(milliseconds);
}

}  // namespace sluice::origin
