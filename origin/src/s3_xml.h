// Reads the XML documents that S3 sends us. Input comes from the network: a document type,
// an entity of its own, deep nesting or an overlong value is refused, never followed.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/result.h"

namespace sluice::origin {

struct ListedKey {
  std::string key;   // decoded
  std::string etag;  // as sent, with its quotes; empty when absent
  std::uint64_t size = 0;
  std::chrono::system_clock::time_point modified;
};

struct ListPage {
  std::vector<ListedKey> keys;
  std::optional<std::string> next_token;  // set when there is more
};

// An answer to ListObjectsV2. kUnavailable when it is not well-formed or lacks what it must have (a
// key without name or size, a truncated page without token).
Result<ListPage> ParseListPage(std::string_view xml);

// An error document. Absent or malformed: empty fields. Values are cut to a printable, short form,
// fit for a message.
struct S3Error {
  std::string code;    // "NoSuchKey"
  std::string region;  // where the bucket is, when the server says so
};
S3Error ParseS3Error(std::string_view xml);

// The children of the root, by name, of a document whose root is `root`; nothing when it is another
// document or malformed. Of an answer to a request that makes or copies something.
std::optional<std::map<std::string, std::string>> FieldsOf(std::string_view xml,
                                                           std::string_view root);

// "2023-05-24T00:00:00.000Z"; nothing when malformed.
std::optional<std::chrono::system_clock::time_point> ParseIsoTime(std::string_view text);

}  // namespace sluice::origin
