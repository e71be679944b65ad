// S3 has no rename: the server copies the object, then the old one is deleted.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "s3_upload.h"
#include "s3_xml.h"

namespace sluice::origin {
namespace {

// What a server copies in one request at most, and the parts above it.
constexpr std::uint64_t kMostCopied = 5ULL << 30;
constexpr std::uint64_t kCopiedPart = 1ULL << 30;

std::string FieldOf(const S3Reply& reply, std::string_view root, const std::string& field) {
  const auto fields = FieldsOf(reply.body, root);
  if (!fields) return {};
  const auto found = fields->find(field);
  return found == fields->end() ? std::string() : found->second;
}

}  // namespace

// Only this version may be copied.
Headers S3Writer::CopySource(const OriginObject& from) const {
  Headers headers = {{"x-amz-copy-source", "/" + context_.Options().bucket + "/" +
                                               UriEncode(Key(from.path), /*keep_slash=*/true)}};
  if (!IsByTime(from.version)) {
    headers.emplace_back("x-amz-copy-source-if-match", "\"" + from.version + "\"");
  }
  return headers;
}

Result<std::string> S3Writer::Copy(const OriginObject& from, const std::string& to) {
  if (from.size > kMostCopied) return CopyInParts(from, to);
  S3Change change;
  change.operation = "copy";
  change.message = {.method = Method::kPut, .key = Key(to), .headers = CopySource(from)};
  change.root = "CopyObjectResult";
  change.copied = from.size;
  const S3Reply reply = SendAndWait(transport_, context_, std::move(change));
  if (!reply.status) return Fail(reply.status.error());
  return FieldOf(reply, "CopyObjectResult", "ETag");
}

Result<std::string> S3Writer::CopyInParts(const OriginObject& from, const std::string& to) {
  S3Change create;
  create.operation = "create_upload";
  create.message = {.method = Method::kPost, .key = Key(to), .query = {{"uploads", ""}}};
  create.root = "InitiateMultipartUploadResult";
  const S3Reply created = SendAndWait(transport_, context_, std::move(create));
  if (!created.status) return Fail(created.status.error());
  const std::string id = FieldOf(created, "InitiateMultipartUploadResult", "UploadId");
  if (id.empty()) {
    return Fail(Code::kUnavailable, context_.Place(Key(to)) + ": the server gives no UploadId");
  }
  const auto copy = [&]() -> Result<std::string> {
    std::vector<std::string> etags;
    for (std::uint64_t at = 0; at < from.size; at += kCopiedPart) {
      S3Change part;
      part.operation = "copy_part";
      part.message = {
          .method = Method::kPut,
          .key = Key(to),
          .query = {{"partNumber", fmt::format("{}", etags.size() + 1)}, {"uploadId", id}},
          .headers = CopySource(from)};
      part.message.headers.emplace_back(
          "x-amz-copy-source-range",
          fmt::format("bytes={}-{}", at, std::min(at + kCopiedPart, from.size) - 1));
      part.root = "CopyPartResult";
      part.copied = kCopiedPart;
      const S3Reply reply = SendAndWait(transport_, context_, std::move(part));
      if (!reply.status) return Fail(reply.status.error());
      etags.push_back(FieldOf(reply, "CopyPartResult", "ETag"));
    }
    const std::string document = CompletionDocument(etags);
    const auto* const begin = reinterpret_cast<const std::byte*>(document.data());
    S3Change complete;
    complete.operation = "complete_upload";
    complete.body = std::make_shared<const std::vector<std::byte>>(begin, begin + document.size());
    complete.message = {.method = Method::kPost,
                        .key = Key(to),
                        .query = {{"uploadId", id}},
                        .payload_hash = Sha256Hex(document)};
    complete.root = "CompleteMultipartUploadResult";
    const S3Reply reply = SendAndWait(transport_, context_, std::move(complete));
    if (!reply.status) return Fail(reply.status.error());
    return FieldOf(reply, "CompleteMultipartUploadResult", "ETag");
  };
  auto etag = copy();
  if (!etag) (void)GiveUp(Key(to) + '\n' + id);
  return etag;
}

Written S3Writer::Rename(const OriginObject& from, const std::string& to) {
  Written written;
  const auto etag = Copy(from, to);
  if (!etag) {
    written.status = Fail(etag.error());
    return written;
  }
  written.object = from;
  written.object.path = to;
  written.object.modified = std::chrono::system_clock::now();
  written.object.version = VersionOf(*etag, from.size, written.object.modified);
  S3Change remove;
  remove.operation = "delete";
  remove.message = {.method = Method::kDelete, .key = Key(from.path)};
  const S3Reply removed = SendAndWait(transport_, context_, std::move(remove));
  // The new name is there and whole; the old one stays beside it, which loses nothing.
  if (!removed.status) {
    context_.Log().Warn("a renamed object could not be deleted under its old name",
                        {{"error", removed.status.error().message}});
  }
  return written;
}

}  // namespace sluice::origin
