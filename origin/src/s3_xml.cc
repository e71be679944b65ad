#include "s3_xml.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "sluice/core/timestamp.h"

#include "xml_walk.h"

namespace sluice::origin {
namespace {

constexpr std::size_t kMaxKeysPerPage = 100'000;

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

}  // namespace

Result<ListPage> ParseListPage(std::string_view xml) {
  ListCollector collector;
  const Status status = WalkXml(
      xml, [&](std::string_view path, const std::string& text) { collector.Take(path, text); });
  if (!status) return Fail(status.error());
  return std::move(collector).Page();
}

S3Error ParseS3Error(std::string_view xml) {
  S3Error error;
  const Status status = WalkXml(xml, [&](std::string_view path, const std::string& text) {
    if (path == "Error/Code") error.code = PlainWord(text);
    if (path == "Error/Region") error.region = PlainWord(text);
  });
  if (!status) return {};
  return error;
}

std::optional<std::map<std::string, std::string>> FieldsOf(std::string_view xml,
                                                           std::string_view root) {
  std::map<std::string, std::string> fields;
  bool complete = false;
  const std::string prefix = std::string(root) + "/";
  const Status status = WalkXml(xml, [&](std::string_view path, const std::string& text) {
    if (path == root) complete = true;
    if (path.starts_with(prefix)) fields[std::string(path.substr(prefix.size()))] = text;
  });
  if (!status || !complete) return std::nullopt;
  return fields;
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
