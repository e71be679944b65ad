// New objects of a bucket: small ones by one PUT, others by a multipart upload.
#pragma once

#include <string>

#include "sluice/ports/object_writer.h"

#include "http_transport.h"
#include "s3_context.h"
#include "s3_send.h"

namespace sluice::origin {

// S3's own limit.
inline constexpr unsigned kMostParts = 10'000;
// Of the part with this number, from 1 on: 8 MiB, doubled after every 1000 parts, so that 5 TiB fit
// in as many as S3 takes, but not more than `largest`.
std::uint64_t PartBytes(unsigned number, std::uint64_t largest);

class S3Writer final : public ObjectWriter {
 public:
  // Both must outlive it, and everything that it has begun.
  S3Writer(HttpTransport& transport, S3Context& context)
      : transport_(transport), context_(context) {}

  // A multipart upload carries a mark of its own as metadata: when the answer to its end is lost,
  // the object tells whether it took place.
  Result<std::unique_ptr<ObjectUpload>> Begin(const std::string& path, std::uint64_t largest_block,
                                              UploadRecords& records) override;
  // Copied by the server, in parts above what it copies at once, then deleted.
  Written Rename(const OriginObject& from, const std::string& to) override;
  Status GiveUp(const std::string& token) override;

 private:
  Result<std::string> Copy(const OriginObject& from, const std::string& to);
  Result<std::string> CopyInParts(const OriginObject& from, const std::string& to);
  [[nodiscard]] std::string Key(const std::string& path) const;
  [[nodiscard]] Headers CopySource(const OriginObject& from) const;

  HttpTransport& transport_;
  S3Context& context_;
};

// The document that ends a multipart upload; `etags` of the parts from 1 on, as sent.
std::string CompletionDocument(const std::vector<std::string>& etags);

}  // namespace sluice::origin
