#include "listing_fuzz.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "demand.h"
#include "object_names.h"
#include "s3_response.h"
#include "s3_xml.h"

namespace sluice::test {
namespace {

using origin::ListedKey;
using origin::ListPage;

// The reader takes values up to 16 KiB, and encoding makes three bytes of one.
constexpr std::size_t kLongestKey = 5'000;
constexpr std::size_t kLongestCode = 64;

bool IsPlain(std::string_view text) {
  return text.size() <= kLongestCode && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '-' || c == '.' || c == '_';
         });
}

bool IsOneLine(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c != '\x7f'; });
}

std::string UrlEncoded(std::string_view text) {
  std::string out;
  for (const char c : text) out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string XmlEscaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool special = c == '&' || c == '<' || c == '>' || c == '\r';
    out += special ? fmt::format("&#{};", static_cast<unsigned>(c)) : std::string(1, c);
  }
  return out;
}

std::string IsoTime(std::chrono::system_clock::time_point time) {
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  const std::time_t seconds = since.count() / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:03}Z", std::string_view(text.data(), length), since.count() % 1000);
}

std::string Written(const ListPage& page) {
  std::string xml = "<ListBucketResult><EncodingType>url</EncodingType>";
  for (const ListedKey& key : page.keys) {
    xml += fmt::format(
        "<Contents><Key>{}</Key><ETag>{}</ETag><Size>{}</Size><LastModified>{}</LastModified>"
        "</Contents>",
        UrlEncoded(key.key), XmlEscaped(key.etag), key.size, IsoTime(key.modified));
  }
  if (page.next_token) {
    xml += fmt::format(
        "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
        XmlEscaped(*page.next_token));
  }
  return xml + "</ListBucketResult>";
}

void DemandSameWhenWritten(const ListPage& page) {
  const std::string xml = Written(page);
  const auto back = origin::ParseListPage(xml);
  Demand(back && back->keys.size() == page.keys.size() && back->next_token == page.next_token,
         "what is written reads back", xml);
  for (std::size_t i = 0; i < page.keys.size(); ++i) {
    const ListedKey& before = page.keys[i];
    const ListedKey& after = back->keys[i];
    Demand(before.key == after.key && before.etag == after.etag && before.size == after.size &&
               before.modified == after.modified,
           "an object that is written reads back", xml);
  }
}

std::vector<OriginObject> Objects(const ListPage& page) {
  std::vector<OriginObject> objects;
  for (const ListedKey& key : page.keys) {
    OriginObject object;
    object.path = key.key;
    object.size = key.size;
    object.modified = key.modified;
    object.version = origin::VersionOf(key.etag, key.size, key.modified);
    // What is asked with every read.
    const auto [name, value] = origin::ConditionFor(object);
    Demand(IsOneLine(value), "a condition is one header", value);
    objects.push_back(std::move(object));
  }
  return objects;
}

void DemandListing(const Listing& listing, std::size_t listed) {
  const std::string* previous = nullptr;
  for (const OriginObject& object : listing.objects) {
    Demand(origin::IsFilePath(object.path), "every name is a file's", object.path);
    Demand(object.size <= kMostObjectBytes, "every size can be cut into blocks", object.path);
    Demand(previous == nullptr || *previous < object.path, "sorted, each once", object.path);
    previous = &object.path;
    for (std::size_t slash = object.path.find('/'); slash != std::string::npos;
         slash = object.path.find('/', slash + 1)) {
      const std::string directory = object.path.substr(0, slash);
      const auto found = std::ranges::lower_bound(listing.objects, directory, {},
                                                  [](const OriginObject& o) { return o.path; });
      Demand(found == listing.objects.end() || found->path != directory,
             "no file is a directory too", directory);
    }
  }
  Demand(listing.objects.size() + listing.skipped == listed, "what is left out is counted", "");
}

}  // namespace

void FuzzListing(std::string_view answer) {
  const origin::S3Error error = origin::ParseS3Error(answer);
  Demand(IsPlain(error.code) && IsPlain(error.region), "a code is fit for a message", answer);
  const auto page = origin::ParseListPage(answer);
  if (!page) {
    Demand(page.error().code == Code::kUnavailable && IsOneLine(page.error().message),
           "an error is fit to be shown", page.error().message);
    return;
  }
  Demand(!page->next_token || !page->next_token->empty(), "more has a token", answer);
  const bool writable = std::ranges::all_of(
      page->keys, [](const ListedKey& key) { return key.key.size() <= kLongestKey; });
  if (writable) DemandSameWhenWritten(*page);
  DemandListing(origin::MakeListing(Objects(*page)), page->keys.size());
}

}  // namespace sluice::test
